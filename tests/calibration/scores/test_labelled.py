"""Labelled moments are read as they are, and absent sentences are really strange to a video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtloc.errors import AnnotationError
from vtloc_calibration.scores.labelled import read_labelled, telling_words, with_absent
from vtloc_runtime.localize.spans.moments import Moment


def write(
    folder: Path, *entries: dict[str, object], videos: tuple[str, ...] = ("a.mp4", "b.mp4")
) -> Path:
    for name in videos:
        (folder / name).touch()
    file = folder / "labels.jsonl"
    lines = [json.dumps({"qid": index, **one}) for index, one in enumerate(entries)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def entry(video: str, query: str, *windows: tuple[float, float]) -> dict[str, object]:
    return {"vid": video, "query": query, "relevant_windows": windows, "duration": 9}


def test_every_window_of_a_sentence_is_kept(tmp_path: Path) -> None:
    file = write(tmp_path, entry("a.mp4", "a cat", (0, 2), (5, 7.5)), entry("b", "a dog"))
    first, second = read_labelled(file, videos=tmp_path)
    assert first.windows == ((0.0, 2.0), (5.0, 7.5))
    assert first.present
    assert second.video == tmp_path / "b.mp4"
    assert not second.present


def test_an_answer_is_held_against_the_closest_window(tmp_path: Path) -> None:
    (one,) = read_labelled(
        write(tmp_path, entry("a.mp4", "a cat", (0, 2), (5, 7))), videos=tmp_path
    )
    assert one.overlap(Moment(5, 8, 0.5)) == pytest.approx(2 / 3)
    assert one.overlap(None) == 0


@pytest.mark.parametrize("name", ["c.mp4", "../a.mp4"])
def test_a_video_that_is_not_in_the_folder_is_named(tmp_path: Path, name: str) -> None:
    file = write(tmp_path, entry("a.mp4", "a dog", (0, 1)), entry(name, "a cat", (0, 1)))
    with pytest.raises(AnnotationError, match="is not in") as raised:
        read_labelled(file, videos=tmp_path)
    assert name in str(raised.value)


def test_lines_without_their_video_are_left_out_on_request(tmp_path: Path) -> None:
    file = write(tmp_path, entry("a.mp4", "a dog", (0, 1)), entry("gone", "a cat", (0, 1)))
    assert len(read_labelled(file, videos=tmp_path, skip_missing=True)) == 1
    file = write(tmp_path, entry("gone", "a cat", (0, 1)))
    with pytest.raises(AnnotationError, match="none of the labelled videos"):
        read_labelled(file, videos=tmp_path, skip_missing=True)


def test_absent_sentences_share_no_telling_word_with_the_video(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        entry("a.mp4", "a black cat", (0, 1)),
        entry("a.mp4", "two dogs on the grass", (1, 2)),
        entry("b.mp4", "the dog sleeps", (0, 1)),
        entry("b.mp4", "a red car", (0, 1)),
        entry("b.mp4", "a mountain", (0, 1)),
    )
    labelled = read_labelled(file, videos=tmp_path)
    added = with_absent(labelled, per_video=5, seed=3)[len(labelled) :]
    assert not any(one.present for one in added)
    by_video = {
        name: {one.query for one in added if one.video.name == name} for name in ("a.mp4", "b.mp4")
    }
    assert by_video["a.mp4"] == {"a red car", "a mountain"}
    assert by_video["b.mp4"] == {"a black cat"}


def test_the_draw_of_absent_sentences_repeats(tmp_path: Path) -> None:
    names = [f"{letter}.mp4" for letter in "abcdefgh"]
    file = write(
        tmp_path, *(entry(name, f"thing{name[0]}", (0, 1)) for name in names), videos=tuple(names)
    )
    labelled = read_labelled(file, videos=tmp_path)
    first = with_absent(labelled, per_video=2, seed=1)
    assert first == with_absent(labelled, per_video=2, seed=1)
    assert first != with_absent(labelled, per_video=2, seed=2)
    assert len(first) == 8 + 16


def test_telling_words_leave_out_what_any_sentence_has() -> None:
    assert telling_words("A man rides the HORSES, over a hill") == {"man", "ride", "horse", "hill"}
