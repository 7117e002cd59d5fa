"""Tiny encoders with random weights: seconds instead of minutes, offline."""

from __future__ import annotations

import json

import pytest
import torch

TINY_CLIP = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {
        "context_length": 24,
        "vocab_size": 49408,
        "width": 48,
        "heads": 4,
        "layers": 2,
    },
}
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "a",
    "dog",
    "cat",
    "runs",
    "over",
    "the",
    "lawn",
    "and",
)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Name of a tiny CLIP that open_clip knows."""
    open_clip = pytest.importorskip("open_clip")
    folder = tmp_path_factory.mktemp("clip")
    bidirectional = {**TINY_CLIP, "text_cfg": {**TINY_CLIP["text_cfg"], "no_causal_mask": True}}
    (folder / "tiny-test-clip.json").write_text(json.dumps(TINY_CLIP))
    (folder / "tiny-test-clip-bidirectional.json").write_text(json.dumps(bidirectional))
    open_clip.add_model_config(folder)
    return "tiny-test-clip"


def tokenizer_directory(folder, *, pad_id):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = list(WORDS)
    words.insert(pad_id, words.pop(0))
    ids = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=20,
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """Directory of a tiny BERT."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer_directory(folder, pad_id=0)
    return folder


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory):
    """Directory of a tiny RoBERTa, whose positions start behind the padding id."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("roberta")
    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=34, pad_token_id=1, type_vocab_size=1,
    )  # fmt: skip
    transformers.RobertaModel(config).save_pretrained(folder)
    tokenizer_directory(folder, pad_id=1)
    return folder
