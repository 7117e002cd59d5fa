"""The results file, from which an interrupted run resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.mutation import dump_json, mutate_bytes, mutate_json, mutate_text
from tests.fuzz.target import Input, Target
from vtloc_runtime.batch.job_lists.jobs import Job
from vtloc_runtime.batch.results.records import (
    Failure,
    FoundMoment,
    Record,
    decode_record,
    encode_record,
)
from vtloc_runtime.batch.results.results_file import ResultsFile
from vtloc_runtime.batch.results.resume import take_done
from vtloc_runtime.errors import OutputError

_RUN = "0123456789ab"
_SUFFIX = ".jsonl"


def _records() -> list[Record]:
    """An answer, an absence, a failure, and an odd name."""
    moment = FoundMoment(start=1.25, end=9.5, score=0.8312)
    common: dict[str, Any] = {"run": _RUN, "backend": "onnxruntime:cpu", "timings": {"decode": 1.5}}
    return [
        Record(id="a1", video="a.mp4", query="a dog", moments=(moment,) * 2, duration=61.4,
               size=8_388_608, modified=1764085371.25, **common),
        Record(id="a2", video="a.mp4", query="a cat", moments=(), duration=61.4, **common),
        Record(id="b", video="b.mp4", query="a dog", run=_RUN,
               error=Failure(kind="video", what="is damaged", where="b.mp4", remedy="Repair it")),
        Record(id="c", video="película \u2028\\xff.mp4", query="Ein Hund – läuft",
               moments=(moment,), duration=10.0, warnings=("two packets are damaged",), **common),
    ]  # fmt: skip


class ResultsFiles(Target):
    """A file that a run opens, repairs, resumes from, and adds to."""

    name = "results"
    count = 300

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = folder / f"results{_SUFFIX}"
        self._true = _records()
        self._lines = [encode_record(record) for record in self._true]
        self._jobs = [Job(one.id, one.video, one.query) for one in self._true]

    def good(self) -> Sequence[Input]:
        return (Input(b"".join(self._lines), _SUFFIX),)

    def known(self) -> Mapping[str, Input]:
        whole, first = b"".join(self._lines), self._lines[0]
        known = {
            "a torn line": whole[:-20],
            "zeros at the end": whole + bytes(512),
            "zeros in the middle": first + bytes(512) + b"".join(self._lines[1:]),
            "line feeds of Windows": whole.replace(b"\n", b"\r\n"),
            "a byte order mark": b"\xef\xbb\xbf" + whole,
            "a line twice": whole + first,
            "two lines in one": whole.replace(b"\n", b"", 1),
            "blank lines": whole.replace(b"\n", b"\n\n"),
            "bytes that are not text": whole.replace(b"a dog", b"a d\xffg"),
            "brackets": whole + b"[" * 100_000 + b"\n",
            "another's file": b"my notes\n",
            "one long line": b"x" * 1_000_000,
        }
        return {name: Input(content, _SUFFIX) for name, content in known.items()}

    def make(self, chance: Random) -> Input:
        lines = list(self._lines)
        if chance.random() < 0.3:
            at = chance.randrange(len(lines))
            lines[at] = self._resealed(chance, lines[at])
        content = b"".join(lines)
        if (how := chance.random()) < 0.4:
            content = mutate_text(chance, content)
        elif how < 0.7:
            content = mutate_bytes(chance, content)
        return Input(content, _SUFFIX)

    def _resealed(self, chance: Random, line: bytes) -> bytes:
        """A changed record whose checksum is right, as another program may write it."""
        fields = json.loads(line)
        fields.pop("check")
        try:
            return encode_record(decode_record(dump_json(chance, mutate_json(chance, fields))))
        except OutputError:
            return line

    def run(self, given: Input) -> None:
        self._path.write_bytes(given.content)
        believed = {line.rstrip(b"\r\n") for line in given.content.split(b"\n")} | {
            line.rstrip(b"\n") for line in self._lines
        }
        try:
            results = ResultsFile(self._path, run=_RUN)
        except OutputError:
            results = ResultsFile(self._path, run=_RUN, repair=True)
        with results:
            for record in results.records():
                # What it gives is a line of the file, whole.
                assert encode_record(record).rstrip(b"\n") in believed, record
            done = {record.id for record in take_done(results, self._jobs)}
            results.append(one for one in self._true if one.id not in done)
        with ResultsFile(self._path, run=_RUN) as again:
            found = [record.id for record in again.records()]
            assert {one.id for one in self._true} <= set(found)
        for aside in self.folder.glob("*.damaged-*"):
            aside.unlink()
