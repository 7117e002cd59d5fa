"""Jobs that ask with several wordings and with pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from vtloc_runtime.batch.job_lists.jobs import read_jobs
from vtloc_runtime.batch.results.records import Record
from vtloc_runtime.errors import JobError, UsageError
from vtloc_runtime.localize.questions.question import Picture


def listed(folder: Path, *entries: dict[str, Any]) -> str:
    path = folder / "jobs.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


def test_a_line_may_bring_wordings_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "dog.jpg").write_bytes(b"dog")
    path = listed(
        tmp_path,
        {"video": "a.mp4", "query": "a dog", "rewrites": ["a puppy"], "like": "dog.jpg"},
        {"video": "b.mp4", "like": ["dog.jpg", "gone.png"]},
        {"video": "c.mp4"},
    )
    both, pictures, common = read_jobs([path], ["a cat"])
    beside = str(tmp_path / "dog.jpg")
    assert both.question == ("a dog", "a puppy", Picture(beside))
    assert pictures.question == (Picture(beside), Picture("gone.png"))
    assert (pictures.query, pictures.like) == ("", (beside, "gone.png"))
    assert common.question == ("a cat",)


def test_a_table_may_have_a_column_of_pictures(tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("video,query,like\na.mp4,a dog,dog.jpg\nb.mp4,,dog.jpg\nc.mp4,a cat,\n")
    jobs = read_jobs([str(path)])
    assert [(job.query, job.like) for job in jobs] == [
        ("a dog", ("dog.jpg",)),
        ("", ("dog.jpg",)),
        ("a cat", ()),
    ]


def test_given_pictures_ask_with_every_sentence(tmp_path: Path) -> None:
    dog = tmp_path / "dog.jpg"
    dog.write_bytes(b"dog")
    jobs = read_jobs(["a.mp4"], ["one", "two"], like=[str(dog)])
    assert [(job.query, job.like) for job in jobs] == [("one", (str(dog),)), ("two", (str(dog),))]
    (alone,) = read_jobs(["a.mp4"], like=[str(dog)])
    assert alone.question == (Picture(str(dog)),)


def test_ids_follow_wordings_and_what_pictures_show(tmp_path: Path) -> None:
    dog = tmp_path / "dog.jpg"
    dog.write_bytes(b"dog")

    def name(**entry: Any) -> str:
        (job,) = read_jobs([listed(tmp_path, {"video": "a.mp4", "query": "one", **entry})])
        return job.id

    names = [name(), name(rewrites=["two"]), name(like=str(dog)), name(like=[str(dog), str(dog)])]
    assert len(set(names)) == 4
    # Without either, an id is what it always was: old results resume.
    assert names[0] == read_jobs(["a.mp4"], ["one"])[0].id
    assert name(like=str(dog)) == names[2]
    dog.write_bytes(b"cat")
    assert name(like=str(dog)) != names[2]


def test_pipes_and_devices_are_never_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    names = ["/dev/zero", str(pipe), str(tmp_path), "a\0b", "x" * 5000]
    jobs = read_jobs([listed(tmp_path, *({"video": "a.mp4", "like": one} for one in names))])
    assert len({job.id for job in jobs}) == len(names)


@pytest.mark.parametrize(
    "entry",
    [
        {"rewrites": ["a puppy"]},
        {"queries": ["a dog", "a cat"], "rewrites": ["a puppy"]},
        {"query": "a dog", "rewrites": "a puppy"},
        {"query": "a dog", "rewrites": [5]},
        {"query": "a dog", "like": 5},
        {"query": "a dog", "like": [""]},
        {"query": "a dog", "like": [None]},
        {"query": "a dog", "like": {"path": "dog.jpg"}},
    ],
    ids=str,
)
def test_a_line_that_cannot_be_meant_is_refused(tmp_path: Path, entry: dict[str, Any]) -> None:
    with pytest.raises(JobError) as caught:
        read_jobs([listed(tmp_path, {"video": "a.mp4", **entry})])
    assert "jobs.jsonl:1" in str(caught.value.where)


def test_a_picture_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    for path in (tmp_path / "gone.jpg", tmp_path):
        with pytest.raises(UsageError, match="picture") as caught:
            read_jobs(["a.mp4"], ["one"], like=[str(path)])
        assert caught.value.where == str(path)


def test_a_record_says_in_a_line_what_was_asked() -> None:
    record = Record(id="1", video="a.mp4", query="a dog", rewrites=("a puppy",), like=("d.jpg",))
    assert record.asked == "a dog / a puppy, like d.jpg"
    assert Record(id="1", video="a.mp4", query="", like=("d.jpg", "e.png")).asked == (
        "like d.jpg and e.png"
    )
    assert Record(id="1", video="a.mp4", query="a dog").asked == "a dog"
