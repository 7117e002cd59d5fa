"""Records of a run find the annotated queries that they answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtloc.annotations import Example, read_split
from vtloc.evaluation.result_matching import match_records
from vtloc_runtime.batch.job_lists.jobs import read_jobs
from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record, encode_record
from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.spans.moments import Moment

TRUE = (Moment(0.0, 1.0, 1.0),)


def results_file(folder: Path, *records: tuple[str, str, str, float | None]) -> Path:
    """Records by id, video, query and the start of the answer; None is a failed job."""
    path = folder / "results.jsonl"
    lines = []
    for name, video, query, start in records:
        found = None if start is None else (FoundMoment(start=start, end=start + 1.0, score=0.5),)
        error = None if found else Failure(kind="video", what="it cannot be read")
        record = Record(id=name, video=video, query=query, moments=found, error=error)
        lines.append(encode_record(record))
    path.write_bytes(b"".join(lines))
    return path


def starts(path: Path, *examples: Example) -> list[float | None]:
    """Where the first answer to each query starts; None where there is none."""
    pairs = match_records(path, examples).pairs
    return [answer[0].start if answer else None for _, answer in pairs]


def test_a_run_on_an_annotation_file_has_the_ids_of_its_queries(tmp_path: Path) -> None:
    captions, charades = tmp_path / "val_1.json", tmp_path / "sta.txt"
    entry = {"duration": 9, "timestamps": [[0, 1], [2, 3]], "sentences": ["a dog", "a dog"]}
    captions.write_text(json.dumps({"v_1": entry}))
    charades.write_text("\nAO8RW 0.0 6.9##a person sits\n")
    (tmp_path / "charades.json").write_text('{"AO8RW": {"duration": 30}}')
    for file in (captions, charades):
        asked = [job.id for job in read_jobs([str(file)], videos=tmp_path)]
        assert asked == [example.id for example in read_split(file).examples]


def test_a_sentence_asked_twice_has_two_answers(tmp_path: Path) -> None:
    first, second = (Example(f"v.{i}", "v", 9.0, "a dog", TRUE) for i in range(2))
    path = results_file(tmp_path, ("v.0", "v.mp4", "a dog", 3.0), ("v.1", "v.mp4", "a dog", 5.0))
    assert starts(path, first, second) == [3.0, 5.0]


def test_an_id_of_another_file_of_the_benchmark_does_not_match(tmp_path: Path) -> None:
    asked = Example("v.0", "v", 9.0, "a cat", TRUE)
    path = results_file(tmp_path, ("v.0", "v.mp4", "a cat", 2.0), ("v.0", "v.mp4", "a  dog", 7.0))
    assert starts(path, asked) == [2.0]
    assert match_records(path, [asked]).unmatched == 1
    other = results_file(tmp_path, ("v.0", "v.mp4", "a dog", 7.0))
    with pytest.raises(OutputError, match="no record matches"):
        match_records(other, [asked])


def test_records_of_another_list_match_by_video_and_sentence(tmp_path: Path) -> None:
    asked = Example("v.0", "x_0.0_9.0", 9.0, "a dog", TRUE)
    path = results_file(tmp_path, ("ab12", "films/x_0.0_9.0.mkv", "a  dog", 4.0))
    assert starts(path, asked) == [4.0]


def test_a_later_record_repairs_an_earlier_one(tmp_path: Path) -> None:
    asked = Example("v.0", "v", 9.0, "a dog", TRUE)
    failed, answered = ("v.0", "v.mp4", "a dog", None), ("v.0", "v.mp4", "a dog", 1.0)
    assert starts(results_file(tmp_path, failed, answered), asked) == [1.0]
    matched = match_records(results_file(tmp_path, answered, failed), [asked])
    assert (matched.unanswered, matched.unmatched) == (1, 0)
