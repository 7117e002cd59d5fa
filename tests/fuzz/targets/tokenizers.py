"""A bundle's ``tokenizer.json``, whose library panics where it is surprised."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tests.fuzz.mutation import dump_json, mutate_json, mutate_text
from tests.fuzz.target import Input, Target
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.localize.questions.tokenizer import QueryTokenizer

_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "dog", "on", "the", "beach", "##s", "b", "##b"]
_SPECIAL = {"A": {"Sequence": {"id": "A", "type_id": 0}}}
_TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {
            "id": index, "content": word, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True,
        }
        for index, word in enumerate(_WORDS[:4])
    ],
    "normalizer": {
        "type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
        "strip_accents": None, "lowercase": True,
    },
    "pre_tokenizer": {"type": "BertPreTokenizer"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
            _SPECIAL["A"],
            {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
        ],
        "pair": [_SPECIAL["A"], {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
            "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
        },
    },
    "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    "model": {
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": {word: index for index, word in enumerate(_WORDS)},
    },
}  # fmt: skip

_PARTS: dict[str, list[dict[str, Any]]] = {
    "model": [
        {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]],
         "unk_token": "a"},
        {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "c"]]},
        {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
        {"type": "WordLevel", "vocab": {}, "unk_token": "[UNK]"},
        {"type": "Unigram", "unk_id": 0, "vocab": [["a", 0.0], ["b", -1.0]]},
        {"type": "Unigram", "unk_id": 99, "vocab": [["a", 0.0]]},
        {"type": "Unigram", "vocab": []},
        {"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]"},
        {"type": "WordPiece", "vocab": {"a": 2**31}, "unk_token": "a"},
    ],
    "normalizer": [
        {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
        {"type": "Precompiled", "precompiled_charsmap": "tAMAAA=="},
        {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": "b"},
        {"type": "Replace", "pattern": {"String": ""}, "content": "xx"},
        {"type": "Replace", "pattern": {"Regex": "(?="}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": ""}, "content": "aaaa"},
        {"type": "Sequence", "normalizers": []},
        {"type": "Prepend", "prepend": "x" * 1000},
    ],
    "pre_tokenizer": [
        {"type": "Split", "pattern": {"Regex": "(a|a)*b"}, "behavior": "Isolated", "invert": False},
        {"type": "Split", "pattern": {"Regex": ""}, "behavior": "Removed", "invert": True},
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
        {"type": "Punctuation", "behavior": "Contiguous"},
        {"type": "FixedLength", "length": 0},
    ],
    "post_processor": [
        {"type": "TemplateProcessing", "single": [_SPECIAL["A"]] * 3, "pair": [],
         "special_tokens": {}},
        {"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}},
        {"type": "RobertaProcessing", "sep": ["x", 2**31], "cls": ["y", 0], "trim_offsets": True,
         "add_prefix_space": True},
        {"type": "BertProcessing", "sep": ["x", 1], "cls": ["y", 4294967295]},
    ],
    "truncation": [
        {"max_length": length, "strategy": strategy, "stride": stride, "direction": "Right"}
        for length, strategy, stride in (
            (0, "LongestFirst", 0), (1, "OnlyFirst", 5), (2, "OnlySecond", 2**31),
            (2**31, "OnlyFirst", 1),
        )
    ],
    "padding": [
        {"strategy": {"Fixed": size}, "direction": "Right", "pad_to_multiple_of": multiple,
         "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
        for size, multiple in ((0, 0), (5, 8), (2**28, None), (5, 2**28))
    ],
}  # fmt: skip
_QUERIES = ("a dog on the beach", "a" * 60 + "!", "ab " * 500, "狗 é", "1 2 3")
_SUFFIX = ".json"


class Tokenizers(Target):
    """A tokenizer that reads five sentences."""

    name = "tokenizers"
    count = 300

    def good(self) -> Sequence[Input]:
        return (Input(json.dumps(_TOKENIZER).encode(), _SUFFIX),)

    def known(self) -> Mapping[str, Input]:
        odd = {
            f"{part} {number}": _with(part, value)
            for part, values in _PARTS.items()
            for number, value in enumerate(values)
        }
        return {name: Input(json.dumps(value).encode(), _SUFFIX) for name, value in odd.items()}

    def make(self, chance: Random) -> Input:
        value = _TOKENIZER
        if chance.random() < 0.8:
            part = chance.choice(tuple(_PARTS))
            value = _with(part, chance.choice(_PARTS[part]))
        if chance.random() < 0.7:
            return Input(dump_json(chance, mutate_json(chance, value)), _SUFFIX)
        return Input(mutate_text(chance, json.dumps(value).encode()), _SUFFIX)

    def run(self, given: Input) -> None:
        options = given.options
        # What a manifest may say; the first is usual.
        usual = options.random() < 0.6
        longest = 64 if usual else options.choice((2, 0, -1, 2**40))
        pad = 0 if usual else options.choice((0, -1, 2**40, 2**70))
        tokenizer = QueryTokenizer(given.content, max_tokens=longest, pad_id=pad)
        found = []
        for query in _QUERIES:
            try:
                found.append(tokenizer.tokenize(query))
            except VtlocError as error:
                assert len(str(error)) < 1000  # noqa: PT017 - others are looked at elsewhere
        if found:
            ids, mask = tokenizer.batch(found)
            assert ids.shape == mask.shape
            assert ids.shape[1] <= longest


def _with(part: str, value: dict[str, Any]) -> dict[str, Any]:
    return {**copy.deepcopy(_TOKENIZER), part: copy.deepcopy(value)}
