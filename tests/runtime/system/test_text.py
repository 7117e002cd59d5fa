"""Names and sentences that neither a terminal nor a file can be harmed by."""

from __future__ import annotations

import json
import os

import pytest

from vtloc_runtime.system.text import ascii_json_controls, numbered_lines, plain, unicode_name


def test_names_that_are_not_text_stay_apart() -> None:
    odd = [os.fsdecode(name) for name in (b"bad\xff.mp4", b"bad\xfe.mp4", b"\xe4\xb8.mp4")]
    shown = [unicode_name(name) for name in odd]
    assert shown == [r"bad\xff.mp4", r"bad\xfe.mp4", r"\xe4\xb8.mp4"]
    assert unicode_name("漢字 é.mp4") == "漢字 é.mp4"
    assert unicode_name("half \ud83d") == r"half \ud83d"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a dog", "a dog"),
        ("\x1b]0;owned\x07x", r"\x1b]0;owned\x07x"),
        ("a\u202eb\u2066c\x9bd\x7f", r"a\u202eb\u2066c\x9bd\x7f"),
        ("line\nfeed\r\t", r"line\x0afeed\x0d\x09"),
        ("\U000e0001", r"\U000e0001"),
        ("👩\u200d🚀 नमस्ते", "👩\u200d🚀 नमस्ते"),
        ("\udcff", r"\xff"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_shown(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_json_keeps_its_meaning_without_characters_that_cut_or_reorder_lines() -> None:
    value = {"query": "a\u2028b\x85c\u202ed\x9b\U000e0001 é 漢"}
    safe = ascii_json_controls(json.dumps(value, ensure_ascii=False))
    assert json.loads(safe) == value
    assert safe.isprintable()
    assert "é 漢" in safe


def test_only_line_feeds_end_lines() -> None:
    text = "a\u2028\u2029\x85\x0b\x0cb\nc\r\nd\re"
    assert list(numbered_lines(text)) == [
        (1, "a\u2028\u2029\x85\x0b\x0cb"),
        (2, "c"),
        (3, "d"),
        (4, "e"),
    ]
