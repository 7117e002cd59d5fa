"""Every kind of public tower against open_clip itself."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

open_clip = pytest.importorskip("open_clip")
pytest.importorskip("transformers")

from tokenizers import Tokenizer  # noqa: E402 - after the skips

from tests.support import tiny_towers  # noqa: E402
from vtloc.encoders import load_encoders, load_text_encoder, share_a_space  # noqa: E402
from vtloc.encoders.open_clip_source import _rouse_head  # noqa: E402
from vtloc.errors import EncoderError  # noqa: E402

SENTENCES = ("the dog runs", "A photo: the cat, running!", "кошка и собака", "a " * 40)


@pytest.fixture(scope="session")
def names(tmp_path_factory):
    return tiny_towers.register(tmp_path_factory.mktemp("towers"))


@pytest.fixture(params=tiny_towers.KINDS)
def kind(request, names):
    """The encoder's name, and open_clip's own model with the same weights."""
    name = names[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(
            name.partition(":")[2], force_custom_text=True, pretrained_text=False
        )
        _rouse_head(model)
    return name, model.eval()


def test_frames_are_those_of_open_clip(kind):
    name, model = kind
    encoder, _ = load_encoders(name, name)
    side = encoder.preprocessing.size
    frames = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    )
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key]) for key in ("mean", "std"))
    pixels = ((frames / 255.0 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(encoder(frames), expected, atol=2e-5, rtol=1e-3)
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)


def test_sentences_are_those_of_open_clip(kind):
    name, model = kind
    _, encoder = load_encoders(name, name)
    ids = open_clip.get_tokenizer(name.partition(":")[2])(list(SENTENCES))
    with torch.no_grad():
        expected = model.encode_text(ids, normalize=True)
    torch.testing.assert_close(encode(encoder, SENTENCES), expected, atol=2e-5, rtol=1e-3)
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)


def test_padding_of_a_batch_changes_no_sentence(kind):
    name, _ = kind
    _, encoder = load_encoders(name, name)
    alone = torch.cat([encode(encoder, [sentence]) for sentence in SENTENCES])
    torch.testing.assert_close(encode(encoder, SENTENCES), alone, atol=2e-5, rtol=1e-3)


def test_both_towers_of_a_model_share_a_space(kind):
    name, _ = kind
    visual, text = load_encoders(name, name)
    assert share_a_space(visual, text)
    assert visual.dimension == text.sentence_dimension == tiny_towers.WIDTH


def encode(encoder, sentences):
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    tokenizer.enable_padding(pad_id=encoder.pad_id)
    encoded = tokenizer.encode_batch(list(sentences))
    ids = torch.tensor([item.ids for item in encoded])
    mask = torch.tensor([item.attention_mask for item in encoded], dtype=torch.bool)
    return encoder(ids, mask)[1]


def test_models_of_one_width_do_not_share_a_space(names):
    visual, _ = load_encoders(names["vit"], names["vit"])
    _, text = load_encoders(names["pe"], names["pe"])
    assert visual.dimension == text.sentence_dimension
    assert not share_a_space(visual, text)


def test_the_context_is_the_towers_own(names):
    assert load_text_encoder(names["pe"]).max_tokens == 32
    assert load_text_encoder(names["siglip"]).max_tokens == tiny_towers.CONTEXT


def test_branches_of_training_are_merged(names):
    visual, _ = load_encoders(names["mobileclip"], names["mobileclip"])
    blocks = [module for module in visual.modules() if hasattr(module, "reparam_conv")]
    assert blocks
    assert all(block.reparam_conv is not None for block in blocks)


def test_a_tokenizer_of_another_model_is_refused(names, tmp_path):
    config = open_clip.get_model_config("tiny-worldwide")
    config["text_cfg"]["vocab_size"] = 50
    (tmp_path / "tiny-foreign.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path)
    with pytest.raises(EncoderError, match="101 ids and its text tower knows 50"):
        load_text_encoder("open_clip:tiny-foreign")
