"""SigLIP from a local folder, by the published rules and open_clip's own answers."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest
import torch

open_clip = pytest.importorskip("open_clip")
transformers = pytest.importorskip("transformers")

from safetensors.torch import save_file  # noqa: E402 - after the skips
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402
from tokenizers.processors import TemplateProcessing  # noqa: E402

from tests.support.tiny_encoders import TINY_CLIP  # noqa: E402
from vtloc.encoders import load_encoders, load_text_encoder  # noqa: E402
from vtloc.encoders.text_cleaning import cleaning_steps  # noqa: E402
from vtloc.errors import EncoderError  # noqa: E402

CONTEXT = 12
SENTENCES = (
    "a dog runs",
    "A DOG, runs!!",
    "somebody_rides a (red) bicycle...",
    "  two   cats\tsleep ",
    "a man cooks a meal " * 6,
    "naïve café",
    "",
)


@pytest.fixture(scope="module")
def siglip(tmp_path_factory):
    """A folder as on the hub: SigLIP's text tower, and a vocabulary trained on sentences.

    As published: no start token, the end token is also what fills up the context, and 1 is its id.
    """
    folder = tmp_path_factory.mktemp("siglip")
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    text = (files("vtloc_export") / "sentences" / "sentences.txt").read_text(encoding="utf-8")
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>"
    )
    tokenizer.train_from_iterator(text.lower().splitlines(), trainer)
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    words = {
        "context_length": CONTEXT, "vocab_size": tokenizer.get_vocab_size(), "width": 32,
        "heads": 2, "layers": 2, "no_causal_mask": True, "proj_bias": True, "pool_type": "last",
        "hf_tokenizer_name": "timm/tiny", "tokenizer_kwargs": {"clean": "canonicalize"},
    }  # fmt: skip
    model = {**TINY_CLIP, "text_cfg": words, "custom_text": True, "init_logit_bias": -10}
    scaling = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": scaling})
    )
    torch.manual_seed(0)
    weights = open_clip.CustomTextCLIP(
        **{key: value for key, value in model.items() if key != "custom_text"}
    ).state_dict()
    save_file(weights, folder / "open_clip_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Hello, World!", "hello world"),
        ("snake_case", "snake case"),
        ("don't", "dont"),
        ("a-b (c) [d] {e} <f>", "ab c d e f"),
        ("  much \t space\n", "much space"),
        ("50% of #1 @ $2", "50 of 1 2"),
        ("ÉCOLE Straße", "école straße"),
        ("“quoted” — dash…", "quoted — dash…"),
        ("!?.,", ""),
    ],
)
def test_text_is_canonical_as_published(text, canonical):
    # big_vision: "_" is a space, ASCII's punctuation goes, lower case, single spaces.
    found = text
    for step in cleaning_steps("canonicalize"):
        found = step.normalize_str(found)
    assert found == canonical


def test_ids_are_those_of_open_clip(siglip):
    encoder = load_text_encoder(f"open_clip:local-dir:{siglip}")
    assert encoder.max_tokens == CONTEXT
    assert encoder.pad_id == 1
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    for sentence in SENTENCES:
        ids = tokenizer.encode(sentence).ids
        assert ids[-1] == 1
        filled = ids + [encoder.pad_id] * (CONTEXT - len(ids))
        wanted = open_clip.get_tokenizer(f"local-dir:{siglip}")([sentence])[0].tolist()
        assert filled == wanted


def test_sentences_are_those_of_open_clip(siglip):
    name = f"local-dir:{siglip}"
    visual, text = load_encoders(f"open_clip:{name}", f"open_clip:{name}")
    assert visual.dimension == text.sentence_dimension
    ids = open_clip.get_tokenizer(name)(list(SENTENCES))
    with torch.no_grad():
        expected = open_clip.create_model(name).eval().encode_text(ids, normalize=True)
    tokenizer = Tokenizer.from_str(text.tokenizer_json())
    for sentence, wanted in zip(SENTENCES, expected, strict=True):
        row = torch.tensor([tokenizer.encode(sentence).ids])
        found = text(row, torch.ones_like(row, dtype=torch.bool))[1][0]
        torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-3)


def test_a_folder_without_its_tokenizer_says_what_to_copy(siglip, tmp_path):
    for file in ("open_clip_config.json", "open_clip_model.safetensors"):
        (tmp_path / file).write_bytes((siglip / file).read_bytes())
    with pytest.raises(EncoderError, match="cannot load its tokenizer") as caught:
        load_text_encoder(f"open_clip:local-dir:{tmp_path}")
    assert "which holds its tokenizer" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("side", ["padding_side", "truncation_side"])
def test_a_tokenizer_that_fills_up_on_the_left_is_refused(siglip, tmp_path, side):
    for file in siglip.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, side: "left"}))
    with pytest.raises(EncoderError, match="on the left"):
        load_text_encoder(f"open_clip:local-dir:{tmp_path}")
