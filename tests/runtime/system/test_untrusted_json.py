"""JSON from files that nobody vouches for: bounded, strict, and one error for every fault."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.errors import BundleError
from vtloc_runtime.system.untrusted_json import DEEPEST, decode_json, read_file, read_json


class Pair(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    values: tuple[float, ...] = ()


def fail(what: str) -> BundleError:
    return BundleError(what, where="a file")


def test_good_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"name": "ö\\u2028\\ud83d\\ude00", "values": [1, 2.5, -0.0, 1e300]}')
    assert read_json(path, Pair, fail=fail) == Pair("ö\u2028😀", (1.0, 2.5, -0.0, 1e300))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"\0", "not JSON"),
        (b'{"name": "a"', "not JSON"),
        (b'{"name": "a"} x', "not JSON"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ('{"name": "a"}'.encode("utf-16"), "not UTF-8"),
        ('{"name": "a"}'.encode("utf-16-le"), "not JSON"),
        (b'{"name": "\xff"}', "not UTF-8"),
        (b'{"name": "\\ud800"}', "not UTF-8"),
        (b'{"name": "a", "values": [NaN]}', "NaN"),
        (b'{"name": "a", "values": [-Infinity]}', "Infinity"),
        (b'{"name": "a", "values": [1e999]}', "too large"),
        (b'{"name": "a", "values": [' + b"9" * 5000 + b"]}", "too long"),
        (b'{"name": "a", "values": [1' + b"0" * 400 + b"]}", "not valid"),
        (b'{"name": "a", "name": "b"}', "comes twice"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000, "nested deeper"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested deeper"),
        (b"[]", "not valid"),
        (b'{"name": 3}', "not valid"),
        (b'{"name": "a", "other": 1}', "not valid"),
    ],
)
def test_bad_json_is_one_error(content: bytes, reason: str) -> None:
    with pytest.raises(BundleError, match=reason) as caught:
        decode_json(content, Pair, fail=fail)
    assert caught.value.where == "a file"
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0123456789.eE+-\\utrf ').map(str.encode))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    try:
        decode_json(content, object, fail=fail)
    except BundleError:
        return


def test_brackets_in_text_are_no_depth() -> None:
    assert decode_json(b'["' + b"[{" * 500 + b'\\"["]', list[str], fail=fail)[0].count("[") == 501


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "missing", "long", "nul", "loop"])
def test_what_is_no_regular_file_is_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        named: dict[str, Any] = {
            "device": Path("/dev/zero"),
            "missing": tmp_path / "none",
            "long": tmp_path / ("x" * 300),
            "nul": tmp_path / "a\0b",
        }
        path = named[kind]
    began = time.monotonic()
    with pytest.raises(BundleError, match="cannot be read"):
        read_file(path, fail=fail)
    assert time.monotonic() - began < 2


def test_a_file_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(BundleError, match="more than 1000 bytes"):
        read_file(path, fail=fail, limit=1000)


@pytest.mark.parametrize("limit", [2**31, 2**63, 2**70])
def test_a_limit_may_be_any_number(tmp_path: Path, limit: int) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert read_file(tmp_path / "a.json", fail=fail, limit=limit) == b"{}"
