"""Tiny encoders with random weights: seconds instead of minutes, offline."""

from __future__ import annotations

import json
from typing import Any

import torch

TINY_CLIP: dict[str, Any] = {
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


def register_tiny_clip(folder):
    """Make open_clip know a tiny CLIP and one that sees its padding; gives the first's name."""
    import open_clip

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


def write_tiny_bert(folder):
    """A directory that holds a BERT."""
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer_directory(folder, pad_id=0)
    return folder


def write_tiny_roberta(folder):
    """A directory that holds a RoBERTa, whose positions start behind the padding id."""
    import transformers

    torch.manual_seed(0)
    config = transformers.RobertaConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=64, max_position_embeddings=34, pad_token_id=1, type_vocab_size=1,
    )  # fmt: skip
    transformers.RobertaModel(config).save_pretrained(folder)
    tokenizer_directory(folder, pad_id=1)
    return folder
