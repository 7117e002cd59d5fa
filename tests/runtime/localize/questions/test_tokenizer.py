"""A sentence to token ids."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.colours import MAX_TOKENS, WORDS
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError, QueryError
from vtloc_runtime.localize.questions.tokenizer import MOST_CHARACTERS, QueryTokenizer, clean_query


@pytest.fixture
def tokenizer(colour_bundle: Path) -> QueryTokenizer:
    return QueryTokenizer.from_bundle(Bundle.open(colour_bundle))


def words(ids: tuple[int, ...]) -> list[str]:
    return [WORDS[index] for index in ids]


def test_a_sentence_becomes_ids_with_special_tokens(tokenizer: QueryTokenizer) -> None:
    query = tokenizer.tokenize("The screen turns RED")
    assert words(query.ids) == ["[CLS]", "the", "screen", "turns", "red", "[SEP]"]
    assert query.warnings == ()


def test_white_space_and_control_characters_make_no_difference() -> None:
    assert clean_query("\ufeff a\tred\r\n\x00screen\x7f \ud800") == "a red screen"


def test_letters_are_composed() -> None:
    assert clean_query("cafe\u0301") == "café"


@pytest.mark.parametrize("query", ["", "   ", "\n\t", "\x00\x01", "\ufeff", "\ud800"])
def test_an_empty_sentence_is_refused(query: str) -> None:
    with pytest.raises(QueryError, match="empty") as caught:
        clean_query(query)
    assert caught.value.remedy


@pytest.mark.parametrize("query", [None, 3, b"red", ["red"]])
def test_what_is_not_text_is_refused(query: object) -> None:
    with pytest.raises(QueryError, match="is text"):
        clean_query(query)


def test_a_long_sentence_is_cut_and_says_so(tokenizer: QueryTokenizer) -> None:
    query = tokenizer.tokenize("a red screen " * 50)
    assert len(query.ids) == MAX_TOKENS
    assert words(query.ids)[-1] == "[SEP]"
    assert "longer than 12 tokens" in query.warnings[0]


def test_an_endless_sentence_is_cut_before_the_tokenizer(tokenizer: QueryTokenizer) -> None:
    query = tokenizer.tokenize("red" * 10_000_000)
    assert len(query.text) <= 2 * MOST_CHARACTERS
    assert "longer" in query.warnings[0]


def test_unknown_words_are_named_as_such(tokenizer: QueryTokenizer) -> None:
    assert tokenizer.tokenize("a zebra gallops").warnings == (
        "the text network does not know 2 of 3 words",
    )


def test_a_batch_is_padded_under_a_mask(tokenizer: QueryTokenizer) -> None:
    ids, mask = tokenizer.batch([tokenizer.tokenize("red"), tokenizer.tokenize("a red screen")])
    assert ids.dtype.name == "int64"
    assert ids.shape == (2, 5)
    assert mask.tolist() == [[True] * 3 + [False] * 2, [True] * 5]
    assert words(tuple(ids[0])) == ["[CLS]", "red", "[SEP]", "[PAD]", "[PAD]"]


def test_an_engine_may_take_fewer_tokens_than_the_bundle(colour_bundle: Path) -> None:
    tokenizer = QueryTokenizer.from_bundle(Bundle.open(colour_bundle), max_tokens=4)
    assert words(tokenizer.tokenize("a red screen").ids) == ["[CLS]", "a", "red", "[SEP]"]


def test_a_length_that_has_no_room_for_words_is_refused(colour_bundle: Path) -> None:
    with pytest.raises(BundleError, match="no room for words in 2 tokens"):
        QueryTokenizer.from_bundle(Bundle.open(colour_bundle), max_tokens=2)


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(BundleError, match="tokenizer"):
        QueryTokenizer(b"{}", max_tokens=4, pad_id=0)


@given(st.text())
def test_any_text_is_cleaned_or_refused(text: str) -> None:
    try:
        cleaned = clean_query(text)
    except QueryError:
        return
    assert cleaned == cleaned.strip()
    assert clean_query(cleaned) == cleaned


def broken(**changes: object) -> bytes:
    import json

    fields: dict[str, Any] = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
    }  # fmt: skip
    return json.dumps({**fields, **changes}).encode()


# A panic in Rust raises an exception outside Exception.
PANICS = {
    "at load": broken(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "at use": broken(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "B", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        }
    ),
}


@pytest.mark.parametrize(
    "content",
    [
        *PANICS.values(), b"", b"[]", b'{"model": 3}', b"\xff\xfe", b"[" * 100_000,
        broken(model={"type": "Unigram", "vocab": []}),
        broken(model={"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]"}),
    ],
)  # fmt: skip
def test_a_broken_tokenizer_is_one_error(content: bytes) -> None:
    with pytest.raises(BundleError, match="tokenizer"):
        QueryTokenizer(content, max_tokens=8, pad_id=0).tokenize("a dog")


@pytest.mark.parametrize("limits", [(0, 2**70), (8, -1), (8, 2**31)])
def test_ids_that_no_network_takes_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(BundleError, match="padding id"):
        QueryTokenizer(broken(), max_tokens=limits[0], pad_id=limits[1])


@pytest.mark.parametrize("nested", [False, True])
def test_a_template_that_repeats_the_sentence_is_refused(nested: bool) -> None:
    sentence = {"Sequence": {"id": "A", "type_id": 0}}
    template = {"type": "TemplateProcessing", "pair": [], "special_tokens": {}}
    for times in (1, 2):
        step = {**template, "single": [sentence] * times}
        content = broken(
            post_processor={"type": "Sequence", "processors": [step]} if nested else step
        )
        if times == 1:
            QueryTokenizer(content, max_tokens=4, pad_id=0).tokenize("a dog")
            continue
        with pytest.raises(BundleError, match="repeats the sentence"):
            QueryTokenizer(content, max_tokens=4, pad_id=0)


def test_more_tokens_than_the_network_takes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = QueryTokenizer(broken(), max_tokens=4, pad_id=0)
    monkeypatch.setattr(tokenizer, "_max_tokens", 1)
    with pytest.raises(BundleError, match="makes 2 tokens where at most 1 are taken"):
        tokenizer.tokenize("a dog")


def test_an_interrupt_inside_a_tokenizer_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = QueryTokenizer(broken(), max_tokens=8, pad_id=0)

    class Interrupted:
        def encode(self, _text: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(tokenizer, "_tokenizer", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        tokenizer.tokenize("a dog")


@pytest.mark.parametrize(
    ("query", "warned"),
    [
        ("a dog runs across the lawn and catches a ball", None),
        ("two people arm wrestle", None),
        ("a woman in a yellow sweater", None),
        ("ein Fahrrad lehnt an der Wand", "does not know some words .Fahrrad, lehnt"),
        ("a bycicle", "bycicle"),
        ("asdf qwer zxcv", "does not know"),
        ("велосипед стоит у стены", "another script"),
        ("一只狗在草地上奔跑", "another script"),
    ],
)
def test_a_sentence_in_another_language_is_answered_with_a_warning(
    query: str, warned: str | None
) -> None:
    warnings = QueryTokenizer.from_bundle(Bundle.open()).tokenize(query).warnings
    if warned is None:
        assert warnings == ()
    else:
        assert any(re.search(warned, warning) for warning in warnings)


def test_tokens_are_told_apart_by_the_words_they_belong_to() -> None:
    query = QueryTokenizer.from_bundle(Bundle.open()).tokenize("A cockatoo's feathers")
    assert [word for word in query.words if word.isalpha()] == ["A", "cockatoo", "s", "feathers"]
    assert len(query.word_of) == len(query.ids)
    assert query.word_of[0] == query.word_of[-1] == -1
    assert query.word_of.count(query.words.index("cockatoo")) > 1
