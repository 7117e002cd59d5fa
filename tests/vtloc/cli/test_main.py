"""The command line, from files to tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vtloc.annotations import read_split
from vtloc.cli.main import main
from vtloc.evaluation.prediction import answer
from vtloc.features.sources import open_frames, open_tokens
from vtloc.model import load_checkpoint
from vtloc.model.samples import StoredSamples
from vtloc.training.experiment import Experiment
from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record, encode_record


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


@pytest.fixture
def trained(benchmark_files, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    assert call("train", benchmark_files.folder / "run.toml", "--out", out) == 0
    return out


def table(capsys) -> dict[str, Any]:
    shown = json.loads(capsys.readouterr().out)
    return {row["name"]: row for row in shown["rows"]} | {"title": shown["title"]}


def test_training_leaves_everything_beside_the_checkpoint(trained: Path, capsys) -> None:
    assert {file.name for file in trained.iterdir()} == {
        "checkpoint.safetensors",
        "curves.png",
        "metrics.jsonl",
        "run.toml",
        "state.safetensors",
    }
    checkpoint = load_checkpoint(trained / "checkpoint.safetensors")
    assert (checkpoint.visual_encoder, checkpoint.text_encoder) == ("frames", "text")
    assert checkpoint.config.shared_space == (0, 16)
    assert Experiment.read(trained / "run.toml").training.epochs == 2


def test_one_command_trains_without_a_file(benchmark_files, tmp_path: Path) -> None:
    # The recipe at full width, on little data, for one epoch.
    store = benchmark_files.store
    code = call(
        *("train", "paper", "--out", tmp_path / "run", "--epochs", 1),
        *("--train", benchmark_files.validation, "--validation", benchmark_files.validation),
        *("--frames", store, "--tokens", store),
    )
    assert code == 0
    assert load_checkpoint(tmp_path / "run/checkpoint.safetensors").config.hidden_dim == 384


def test_a_checkpoint_is_scored_beside_the_blind_baselines(
    benchmark_files, trained: Path, capsys
) -> None:
    capsys.readouterr()
    files, store = benchmark_files, benchmark_files.store
    code = call(
        *("evaluate", trained / "checkpoint.safetensors", "--annotations", files.validation),
        *("--train", files.train, "--frames", store, "--tokens", store, "--map"),
        *("--format", "json"),
    )
    assert code == 0
    rows = table(capsys)
    assert rows["title"] == "annotations validation, 10 queries, hit: IoU >= m"
    assert rows["whole video"]["R1@0.1"] == 100
    assert any(name.startswith("constant window [") for name in rows)
    last = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    best = max(row["validation"]["mIoU"] for row in last)
    assert rows["checkpoint.safetensors"]["mIoU"] == pytest.approx(best)
    assert 0 < rows["checkpoint.safetensors"]["mAP"] <= 100


@pytest.mark.parametrize("decoding", ["argmax", "soft", "similarity"])
def test_other_decodings_can_be_scored(benchmark_files, trained, decoding: str, capsys) -> None:
    store = benchmark_files.store
    code = call(
        *("evaluate", trained / "checkpoint.safetensors", "--decoding", decoding),
        *("--annotations", benchmark_files.validation, "--frames", store, "--tokens", store),
    )
    assert code == 0
    assert "mIoU" in capsys.readouterr().out


def test_results_of_a_run_score_as_the_checkpoint_does(
    benchmark_files, trained: Path, capsys
) -> None:
    files, store = benchmark_files, benchmark_files.store
    split = read_split(files.validation)
    samples = StoredSamples(split.examples, open_frames(store), open_tokens(store))
    network = load_checkpoint(trained / "checkpoint.safetensors").network
    lines = []
    for example, (_, moments) in zip(
        split.examples, answer(network, samples.epoch(0)), strict=True
    ):
        found = tuple(FoundMoment(start=m.start, end=m.end, score=m.score) for m in moments)
        video = f"videos/{example.video}.mp4"
        record = Record(id=example.id, video=video, query=example.query, moments=found)
        lines.append(encode_record(record))
    results = files.folder / "results.jsonl"
    results.write_bytes(b"".join(lines))
    scored = []
    for answers, more in ((trained / "checkpoint.safetensors", True), (results, False)):
        capsys.readouterr()
        features = ("--frames", store, "--tokens", store) if more else ()
        words = ("evaluate", answers, "--annotations", files.validation, *features)
        assert call(*words, "--format", "json") == 0
        scored.append(table(capsys)[answers.name])
    del scored[0]["name"], scored[1]["name"]
    assert scored[0] == pytest.approx(scored[1])


def test_queries_without_an_answer_count_as_missed(benchmark_files, capsys) -> None:
    example, failed, *_ = read_split(benchmark_files.validation).examples
    moment = example.moments[0]
    exact = FoundMoment(start=moment.start, end=moment.end, score=0.9)
    unreadable = Failure(kind="video", what="it cannot be read")
    results = benchmark_files.folder / "results.jsonl"
    records = (
        Record(id="a", video=f"{example.video}.mp4", query=example.query, moments=(exact,)),
        Record(id="b", video=failed.video, query=failed.query, error=unreadable),
        Record(id="c", video="other.mp4", query="something else", moments=()),
    )
    results.write_bytes(b"".join(map(encode_record, records)))
    words = ("evaluate", results, "--annotations", benchmark_files.validation)
    assert call(*words, "--format", "json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["rows"][-1]["R1@0.7"] == 10
    assert "9 queries have no answer" in shown.err
    assert "1 records belong to no query" in shown.err


def test_a_hit_may_be_asked_to_lie_above_the_threshold(benchmark_files, capsys) -> None:
    example = read_split(benchmark_files.validation).examples[0]
    moment = example.moments[0]
    half = FoundMoment(start=moment.start, end=(moment.start + moment.end) / 2, score=1.0)
    results = benchmark_files.folder / "results.jsonl"
    record = Record(id="a", video=example.video, query=example.query, moments=(half,))
    results.write_bytes(encode_record(record))
    found = {}
    for hit in (">=", ">"):
        capsys.readouterr()
        call(
            *("evaluate", results, "--annotations", benchmark_files.validation),
            *("--hit", hit, "--format", "json"),
        )
        shown = table(capsys)
        assert f"IoU {hit} m" in shown["title"]
        found[hit] = shown["results.jsonl"]["R1@0.5"]
    assert found == {">=": 10, ">": 0}


def test_a_table_of_arms_is_trained_once_and_printed_with_the_papers_figures(
    benchmark_files, tmp_path: Path, capsys
) -> None:
    words = (
        *("ablate", "components", "--out", tmp_path / "arms", "--format", "markdown"),
        *("--configuration", benchmark_files.folder / "run.toml", "--epochs", 1, "--seeds", 2),
    )
    assert call(*words) == 0
    first = capsys.readouterr().out
    lines = [line.split("|") for line in first.splitlines() if line.startswith("| ")][1:]
    names = [line[1].strip() for line in lines]
    assert names[0] == "transformer only"
    assert names[1] == "deviation over 2 seeds"
    assert names[2] == "the paper's, ViT-B/32"
    assert len(list((tmp_path / "arms").glob("*/seed-*/checkpoint.safetensors"))) == 8
    stamps = {p: p.stat().st_mtime_ns for p in tmp_path.glob("arms/*/*/checkpoint.safetensors")}
    assert call(*words) == 0
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_arms_without_their_features_are_named_not_run(
    benchmark_files, tmp_path: Path, capsys
) -> None:
    code = call(
        *("ablate", "text", "--out", tmp_path / "arms", "--format", "json", "--epochs", 1),
        *("--configuration", benchmark_files.folder / "run.toml"),
        *("--frames", benchmark_files.store, "--tokens", f"BERT-base={benchmark_files.store}"),
    )
    assert code == 0
    rows = table(capsys)
    assert "CLIP-L/14 (not run: no features given)" in rows
    assert 0 <= rows["BERT-base"]["mIoU"] <= 100


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("features", "--out", "s"), 2, "nothing to encode"),
        (("features", "nothing", "--out", "s"), 2, "a frame encoder"),
        (("features", "x.mp4", "--out", "s", "--encoder", "psychic"), 12, "psychic"),
        (("train", "nothing.toml", "--out", "r"), 10, "configuration does not exist"),
        (("train", "paper", "--out", "r"), 10, "names no data"),
        (("evaluate", "no.safetensors", "--annotations", "no.json"), 13, "cannot read"),
        (("ablate", "nothing", "--out", "r"), 10, "ablation does not exist"),
        (("train",), 2, "Missing"),
    ],
)
def test_mistakes_end_in_one_line_and_a_code(words, code: int, message: str, capsys) -> None:
    assert call(*words) == code
    shown = capsys.readouterr()
    assert message in " ".join(shown.err.split())
    assert "Traceback" not in shown.err
