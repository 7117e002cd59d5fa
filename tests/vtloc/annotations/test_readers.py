"""Readers of the benchmarks' files: small ones written here, and the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vtloc.annotations import filter_examples, read_split
from vtloc.errors import AnnotationError
from vtloc_runtime.localize.spans.moments import Moment

ACTIVITYNET = {
    "v_one": {
        "duration": 20.0,
        "timestamps": [[0, 5.5], [18.0, 20.01], [12.0, 11.0]],
        "sentences": ["  A man\nruns. ", "He stops.", "He was  never there."],
    },
    "v_two": {"duration": 9.5, "timestamps": [[1, 2.5]], "sentences": ["A cat sleeps."]},
}


def spans(moments: tuple[Moment, ...]) -> list[tuple[float, float]]:
    return [(moment.start, moment.end) for moment in moments]


@pytest.fixture
def activitynet(tmp_path: Path) -> Path:
    path = tmp_path / "val_1.json"
    path.write_text(json.dumps(ACTIVITYNET))
    return path


@pytest.fixture
def charades(tmp_path: Path) -> Path:
    path = tmp_path / "charades_sta_test.txt"
    path.write_text("3MSZA 24.3 30.4##person turn a light on.\nAMT7R 4.3 12.5##a ## in it\n\n")
    durations = {"3MSZA": {"duration": 30.0, "subset": "testing"}, "AMT7R": {"duration": 40.5}}
    (tmp_path / "charades.json").write_text(json.dumps(durations))
    return path


def test_activitynet_sentences_come_clean_with_their_spans(activitynet: Path) -> None:
    split = read_split(activitynet)
    assert split.title == "ActivityNet Captions val_1"
    assert [example.query for example in split.examples][:2] == ["A man runs.", "He stops."]
    assert split.examples[0].id == "v_one.0"
    assert spans(split.examples[0].moments) == [(0.0, 5.5)]


def test_moments_end_with_the_video(activitynet: Path) -> None:
    assert spans(read_split(activitynet).examples[1].moments) == [(18.0, 20.0)]


def test_a_span_that_ends_before_it_begins_is_kept_and_marked(activitynet: Path) -> None:
    example = read_split(activitynet).examples[2]
    assert spans(example.moments) == [(11.0, 12.0)]
    assert not example.consistent


def test_charades_lines_take_their_durations_from_beside(charades: Path) -> None:
    first, second = read_split(charades).examples
    assert (first.video, first.duration, first.query) == ("3MSZA", 30.0, "person turn a light on.")
    assert spans(first.moments) == [(24.3, 30.0)]
    assert second.query == "a ## in it"


def test_charades_durations_may_be_the_original_tables(charades: Path) -> None:
    (charades.parent / "charades.json").unlink()
    table = charades.parent / "Charades_v1_test.csv"
    table.write_text("id,subject,length\n3MSZA,x,31.5\nAMT7R,x,33\n")
    assert read_split(charades).examples[0].duration == 31.5


def test_charades_without_durations_says_what_is_missing(charades: Path) -> None:
    (charades.parent / "charades.json").unlink()
    with pytest.raises(AnnotationError, match=r"charades\.json"):
        read_split(charades)


def test_highlights_keep_every_moment_of_a_query(tmp_path: Path) -> None:
    path = tmp_path / "highlight_val_release.jsonl"
    row = {"qid": 7, "query": "A dog", "duration": 150, "vid": "a_0.0_150.0"}
    labelled = {**row, "relevant_windows": [[0, 10], [20, 24]], "saliency_scores": [[1, 2, 3]]}
    path.write_text(json.dumps(labelled) + "\n" + json.dumps({**row, "qid": 8}))
    first, second = read_split(path).examples
    assert first.id == "7"
    assert spans(first.moments) == [(0, 10), (20, 24)]
    assert second.moments == ()


def test_ones_own_annotations_are_plain_lines(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    row = {"id": "a", "video": "clip", "duration": 5, "query": "x", "moments": [[1, 2]]}
    path.write_text(json.dumps(row))
    assert spans(read_split(path).examples[0].moments) == [(1.0, 2.0)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "", "none of the known"),
        ("a.json", "{", "none of the known"),
        ("a.json", '{"v": {"duration": 1, "timestamps": [[0, 1]], "sentences": []}}', "1 timest"),
        ("a.json", '{"v": {"timestamps": [[0, 1]], "sentences": ["x"]}}', "duration"),
        ("a.json", '{"v": {"duration": 0, "timestamps": [[0, 1]], "sentences": ["x"]}}', "positiv"),
        ("a.jsonl", '{"qid": 1, "query": "x"}', r"a\.jsonl:1"),
        ("a.jsonl", '{"id": 1, "query": "x", "video": "v", "duration": 3, "moment": []}', "moment"),
        ("a.jsonl", '{"qid":1,"query":"x","vid":"v","duration":3}\n' * 2, "two queries"),
        ("a.txt", "a list of things", "none of the known"),
    ],
)
def test_files_that_are_something_else_are_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(AnnotationError, match=message):
        read_split(path)


def test_a_broken_line_of_charades_is_named(charades: Path) -> None:
    charades.write_text("3MSZA 24.3 30.4##x\n3MSZA here there##y\n")
    with pytest.raises(AnnotationError, match="txt:2"):
        read_split(charades)


def test_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AnnotationError, match="UTF-8"):
        read_split(path)


def test_the_papers_filter_counts_what_it_leaves_out(activitynet: Path) -> None:
    kept, report = filter_examples(read_split(activitynet).examples, minimum_seconds=2.0)
    assert [example.id for example in kept] == ["v_one.0", "v_one.1"]
    assert (report.kept, report.short, report.inconsistent) == (2, 1, 1)
    assert "1 short" in str(report)


PUBLISHED = [
    ("activitynet_captions/train.json", 10_009, 37_421),
    ("activitynet_captions/val_1.json", 4_917, 17_505),
    ("activitynet_captions/val_2.json", 4_885, 17_031),
    ("charades_sta/charades_sta_train.txt", 5_338, 12_408),
    ("charades_sta/charades_sta_test.txt", 1_334, 3_720),
    ("qvhighlights/highlight_train_release.jsonl", None, 7_218),
    ("qvhighlights/highlight_val_release.jsonl", None, 1_550),
    ("qvhighlights/highlight_test_release.jsonl", None, 1_542),
    ("qvhighlights/highlight_test_with_gt.jsonl", None, 1_542),
]


@pytest.mark.media
@pytest.mark.parametrize(("file", "videos", "sentences"), PUBLISHED)
def test_published_files_have_their_published_counts(
    media: Path, file: str, videos: int | None, sentences: int
) -> None:
    examples = read_split(media / "annotations" / file).examples
    assert len(examples) == sentences
    assert videos is None or len({example.video for example in examples}) == videos
    for example in examples:
        for moment in example.moments:
            assert 0 <= moment.start <= moment.end <= example.duration


@pytest.mark.media
def test_published_oddities_are_found(media: Path) -> None:
    train = read_split(media / "annotations/activitynet_captions/train.json").examples
    assert sum(not example.consistent for example in train) == 4
    val = read_split(media / "annotations/qvhighlights/highlight_val_release.jsonl").examples
    assert sum(len(example.moments) > 1 for example in val) == 530
