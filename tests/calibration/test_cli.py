"""The commands, from videos to a bundle that is smaller and says how sure it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import invoke
from vtloc_calibration.cli.main import app, main
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.samples.samples import Samples
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import OutputError, UsageError, VtlocError
from vtloc_runtime.localize.localizer import Localizer

Videos = list[tuple[Path, list[str]]]


@pytest.fixture
def sample_file(striped_samples: Samples, tmp_path: Path) -> Path:
    path = tmp_path / "samples.safetensors"
    striped_samples.save(path)
    return path


def test_samples_are_drawn_from_a_folder(
    weighted_bundle: Bundle, striped_videos: Videos, striped_labels: Path, tmp_path: Path
) -> None:
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("\n".join(f"{name} screen" for name in "abcdefgh"), encoding="utf-8")
    out = tmp_path / "samples.safetensors"
    folder = striped_videos[0][0].parent
    common = (weighted_bundle.path, "--videos", folder, "--out", out, "--network-precision", "fp32")
    with pytest.raises(CalibrationError, match="distinct sentences"):
        # This tokenizer has no letters as words: they all look alike to the network.
        invoke(app, "samples", *common, "--queries", sentences)
    sentences.write_text(
        "\n".join(f"{start} {name}" for start in ("a", "the") for name in ("red", "blue", "cyan")),
        encoding="utf-8",
    )
    with pytest.raises(CalibrationError, match="6 distinct sentences"):
        invoke(app, "samples", *common, "--queries", sentences)
    shown = invoke(app, "samples", *common, "--labels", striped_labels)
    assert "sentences" in shown
    assert len(Samples.load(out).frames) == 72


def test_int8_is_written_into_the_bundle(
    weighted_bundle: Bundle,
    sample_file: Path,
    striped_videos: Videos,
    striped_labels: Path,
    tmp_path: Path,
) -> None:
    folder, report = striped_videos[0][0].parent, tmp_path / "report"
    invoke(app,
        "int8", weighted_bundle.path, "--samples", sample_file, "--labels", striped_labels,
        "--videos", folder, "--report", report, "--ranges", "minmax",
    )  # fmt: skip
    changed = Bundle.open(weighted_bundle.path)
    for network in changed.manifest.networks.values():
        assert "int8" in network.variants
        assert "int8" in network.islands
    parity = changed.manifest.provenance.parity["int8"]
    assert parity["visual"]["holds"] is True
    assert parity["visual"]["items_per_second"].keys() == {"fp32", "int8"}
    assert parity["task"]["recall"] == pytest.approx(parity["task"]["recall_before"], abs=0.1)
    assert json.loads((report / "sensitivity.int8.json").read_text(encoding="utf-8"))
    assert (report / "sensitivity.int8.svg").is_file()
    with Localizer.open(changed, precision="int8") as localizer:
        answer = localizer.localize(striped_videos[0][0], f"the {striped_videos[0][1][1]} screen")
    assert answer.best is not None
    assert answer.best.start == pytest.approx(4, abs=0.6)
    assert answer.best.end == pytest.approx(8, abs=0.6)


def test_sensitivity_chooses_islands(
    weighted_bundle: Bundle, sample_file: Path, tmp_path: Path
) -> None:
    common = (weighted_bundle.path, "--samples", sample_file, "--network", "visual")
    shown = invoke(app, "sensitivity", *common, "--dry-run")
    assert "stem" in shown
    assert not Bundle.open(weighted_bundle.path).manifest.networks["visual"].islands
    invoke(app, "sensitivity", *common)
    islands = Bundle.open(weighted_bundle.path).manifest.networks["visual"].islands
    assert islands == {"fp16": ()}


def test_scores_become_probabilities_in_the_bundle(
    weighted_bundle: Bundle, striped_videos: Videos, striped_labels: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(
            json.dumps(
                {
                    "video": f"v{index % 10}", "query": f"q{index}", "present": index % 3 > 0,
                    "raw": (index % 20) / 20, "overlap": 0.9 * (index % 20 > 7 + index % 5),
                    "start": 0.0, "end": 1.0,
                }
            )
            + "\n"
            for index in range(120)
        ),
        encoding="utf-8",
    )  # fmt: skip
    shown = invoke(
        app,
        "scores",
        weighted_bundle.path,
        "--answers",
        answers,
        "--report",
        report,
        "--keep",
        "0.8",
    )
    assert "calibration error" in shown
    calibration = Bundle.open(weighted_bundle.path).manifest.score_calibration
    assert calibration is not None
    assert calibration.threshold is not None
    assert json.loads((report / "scores.json").read_text(encoding="utf-8"))["present"] == 80
    assert (report / "scores.svg").is_file()
    assert (report / "answers.jsonl").is_file()


def test_scores_are_asked_of_the_runtime(
    weighted_bundle: Bundle, striped_videos: Videos, striped_labels: Path, tmp_path: Path
) -> None:
    twice = tmp_path / "twice.jsonl"
    lines = [json.loads(line) for line in striped_labels.read_text(encoding="utf-8").splitlines()]
    twice.write_text(
        "".join(json.dumps({**line, "qid": index}) + "\n" for index, line in enumerate(lines * 2)),
        encoding="utf-8",
    )
    report = tmp_path / "report"
    # The answers are kept before they turn out to be too good to calibrate by.
    with pytest.raises(CalibrationError, match="every answer is right"):
        invoke(app,
            "scores", weighted_bundle.path, "--labels", twice, "--videos",
            striped_videos[0][0].parent, "--report", report, "--network-precision", "fp32",
            "--absent", "0", "--dry-run",
        )  # fmt: skip
    lines = (report / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert sum(one["present"] for one in found) == 36
    assert sum(not one["present"] for one in found) == 12
    assert all(one["overlap"] >= 0.5 for one in found if one["present"])
    assert all(one["overlap"] == 0 for one in found if not one["present"])


def test_too_few_labels_are_refused_before_videos_are_read(
    weighted_bundle: Bundle,
    striped_videos: Videos,
    striped_labels: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a video was read")

    monkeypatch.setattr(Localizer, "open", refuse)
    with pytest.raises(CalibrationError, match="18 labelled sentences are too few"):
        invoke(app,
            "scores", weighted_bundle.path, "--labels", striped_labels, "--videos",
            striped_videos[0][0].parent, "--report", tmp_path / "report",
        )  # fmt: skip
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("name", ["answers.jsonl", "scores.json", "scores.svg"])
def test_a_report_replaces_no_file_of_others(
    weighted_bundle: Bundle, striped_labels: Path, tmp_path: Path, name: str
) -> None:
    other = tmp_path / name
    other.write_text('{"video": "film.mp4", "query": "a dog"}\n', encoding="utf-8")
    with pytest.raises(OutputError, match="did not write"):
        invoke(app,
            "scores", weighted_bundle.path, "--labels", striped_labels, "--videos", tmp_path,
            "--report", tmp_path,
        )  # fmt: skip
    assert "film.mp4" in other.read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["sensitivity", "int8"])
@pytest.mark.parametrize("suffix", ["json", "svg"])
def test_a_study_replaces_no_file_of_others(
    weighted_bundle: Bundle, sample_file: Path, tmp_path: Path, command: str, suffix: str
) -> None:
    precision = "int8" if command == "int8" else "fp16"
    other = tmp_path / f"sensitivity.{precision}.{suffix}"
    other.write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="did not write"):
        invoke(app, command, weighted_bundle.path, "--samples", sample_file, "--report", tmp_path)
    assert other.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scores", "BUNDLE"], "--labels and --videos"),
        (["scores", "BUNDLE", "--keep", "0.9", "--precision", "0.9"], "one of --keep"),
        (["samples", "BUNDLE", "--videos", ".", "--out", "OUT"], "--labels or --queries"),
        (
            ["samples", "BUNDLE", "--videos", "nowhere", "--out", "OUT", "--queries", "none.txt"],
            "does not exist",
        ),
        (["sensitivity", "BUNDLE", "--samples", "SAMPLES", "--network", "audio"], "audio"),
        (["int8", "BUNDLE", "--samples", "SAMPLES", "--labels", "labels.jsonl"], "--videos too"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    weighted_bundle: Bundle,
    sample_file: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
) -> None:
    out = tmp_path / "drawn.safetensors"
    known = {"BUNDLE": weighted_bundle.path, "SAMPLES": sample_file, "OUT": out}
    with pytest.raises(UsageError, match=message):
        invoke(app, *(known.get(word, word) for word in arguments))


def test_an_error_is_one_line_and_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vtloc-calibrate", "scores", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 5
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "there is no such bundle" in shown


def test_the_command_starts_without_the_training_stack() -> None:
    heavy = {"torch", "onnx", "sklearn", "matplotlib", "onnxruntime"}
    program = f"import sys, vtloc_calibration.cli.main; print(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, env=os.environ.copy(),
    )  # fmt: skip
    assert shown.stdout.strip() == "[]"


def test_every_error_of_the_commands_is_of_the_family() -> None:
    assert issubclass(CalibrationError, VtlocError)
    assert CalibrationError.exit_code == 18
