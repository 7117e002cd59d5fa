"""Records: one JSON object a line, and the exit code that they add up to."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from vtloc_runtime.batch.job_lists.jobs import Job
from vtloc_runtime.batch.results.records import (
    Failure,
    FileState,
    FoundMoment,
    Record,
    decode_record,
    encode_record,
    failure_record,
)
from vtloc_runtime.batch.results.tally import RunTally
from vtloc_runtime.cli.console.exit_codes import exit_code_of_failures
from vtloc_runtime.errors import OutputError, QueryError, VideoError

JOB = Job("1", "film.mp4", "a dog")
FOUND = Record(
    id="1",
    video="film.mp4",
    query="a dog",
    moments=(FoundMoment(start=1.5, end=2.0, score=0.5),),
    duration=9.0,
)
MISSING = failure_record(JOB, VideoError("no such file", where="film.mp4", remedy="Look"), run="r")
EMPTY = failure_record(JOB, QueryError("the sentence is empty"), run="r")


def test_a_record_is_one_line_of_plain_json() -> None:
    line = encode_record(FOUND)
    assert line.endswith(b"\n")
    entry = json.loads(line)
    assert list(entry)[-1] == "check"
    assert len(entry.pop("check")) == 8
    assert entry == {
        "id": "1",
        "video": "film.mp4",
        "query": "a dog",
        "moments": [{"start": 1.5, "end": 2.0, "score": 0.5}],
        "duration": 9.0,
    }
    assert decode_record(line) == FOUND


def test_a_failure_says_what_where_and_what_to_do() -> None:
    entry = json.loads(encode_record(MISSING))
    assert "moments" not in entry
    assert entry["error"] == {
        "kind": "video",
        "what": "no such file",
        "where": "film.mp4",
        "remedy": "Look",
    }


def test_no_such_moment_is_an_answer() -> None:
    entry = json.loads(encode_record(Record(id="1", video="v", query="q", moments=())))
    assert entry["moments"] == []
    assert "error" not in entry


def test_line_feeds_and_odd_file_names_stay_on_one_line() -> None:
    odd = Record(id="1", video="film\n.mp4", query="a\nb \u2028", moments=())
    line = encode_record(odd)
    assert line.count(b"\n") == 1
    assert line.decode().splitlines() == [line.decode().rstrip()]
    assert json.loads(line)["query"] == "a\nb \u2028"


def test_names_that_are_not_text_are_written_so_that_they_differ() -> None:
    names = [
        failure_record(Job("1", name, "q"), VideoError("no"), run="").video
        for name in ("a\udcff.mp4", "a\udcfe.mp4")
    ]
    assert names == [r"a\xff.mp4", r"a\xfe.mp4"]


def test_a_number_that_is_not_finite_is_never_written() -> None:
    with pytest.raises(ValueError, match="not finite"):
        Record(id="1", video="v", query="q", duration=float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        Record(
            id="1",
            video="v",
            query="q",
            moments=(FoundMoment(start=0, end=float("inf"), score=1),),
        )


def test_a_checksum_that_does_not_match_is_refused() -> None:
    line = encode_record(FOUND)
    spoilt = line.replace(b'"score":0.5', b'"score":0.7')
    with pytest.raises(OutputError, match="damaged"):
        decode_record(spoilt)
    bare = line[: line.index(b',"check"')] + b"}\n"
    assert decode_record(bare) == FOUND
    with pytest.raises(OutputError, match="damaged"):
        decode_record(bare, checked=True)


def test_an_error_that_nobody_foresaw_is_a_record_too() -> None:
    record = failure_record(JOB, ZeroDivisionError("division by zero\nmore"), run="")
    assert record.error is not None
    assert record.error.kind == "internal"
    assert record.error.what == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"id": 3}', b"\xff"])
def test_what_is_no_record_is_refused(line: bytes) -> None:
    with pytest.raises(OutputError, match="not a result"):
        decode_record(line)


@pytest.mark.parametrize(
    "change",
    [
        {"moments": None},
        {"error": Failure(kind="video", what="no")},
        {"moments": (FoundMoment(start=5, end=1, score=0.5),)},
        {"moments": (FoundMoment(start=-1, end=1, score=0.5),)},
        {"moments": (FoundMoment(start=0, end=1e10, score=0.5),)},
        {"moments": (FoundMoment(start=0, end=1, score=2),)},
        {"duration": -5.0},
    ],
)
def test_a_line_that_no_run_would_write_is_refused(change: dict[str, Any]) -> None:
    line = encode_record(msgspec.structs.replace(FOUND, **change))
    with pytest.raises(OutputError, match=r"either moments or an error|is not possible"):
        decode_record(line)


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([], 0),
        ([FOUND], 0),
        ([FOUND, MISSING], 1),
        ([MISSING, MISSING], 3),
        ([EMPTY], 4),
        ([EMPTY, MISSING], 1),
        ([failure_record(JOB, RuntimeError(), run="")], 1),
    ],
)
def test_records_add_up_to_an_exit_code(records: list[Record], code: int) -> None:
    tally = RunTally()
    for record in records:
        tally.add(record)
    assert exit_code_of_failures(tally.failures, total=tally.records) == code


@pytest.mark.parametrize(
    ("size", "modified", "failed", "now", "outdated"),
    [
        (5, 1.5, False, FileState(5, 1.5), False),
        (5, 1.5, False, FileState(6, 1.5), True),
        (5, 1.5, True, FileState(5, 2.5), True),
        (5, 1.5, False, None, False),
        (None, None, False, FileState(5, 1.5), False),
        (None, None, True, FileState(5, 1.5), True),
        (None, None, True, None, False),
    ],
)
def test_a_record_is_outdated_where_its_file_has_changed(
    size: int | None, modified: float | None, failed: bool, now: FileState | None, outdated: bool
) -> None:
    error = Failure(kind="video", what="no") if failed else None
    record = Record(id="1", video="v", query="q", size=size, modified=modified, error=error)
    assert record.is_outdated(now) is outdated
