"""The commands, from videos to a bundle that is smaller and says how sure it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vtloc_calibration.cli.main import app, main
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.samples.samples import Samples
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import UsageError, VtlocError
from vtloc_runtime.localize.localizer import Localizer

Videos = list[tuple[Path, list[str]]]


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


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
        # Letters are no words of this tokenizer: they all look alike to the network.
        invoke("samples", *common, "--queries", sentences)
    sentences.write_text(
        "\n".join(f"{start} {name}" for start in ("a", "the") for name in ("red", "blue", "cyan")),
        encoding="utf-8",
    )
    with pytest.raises(CalibrationError, match="6 distinct sentences"):
        invoke("samples", *common, "--queries", sentences)
    shown = invoke("samples", *common, "--labels", striped_labels)
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
    invoke(
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
    shown = invoke("sensitivity", *common, "--dry-run")
    assert "stem" in shown
    assert not Bundle.open(weighted_bundle.path).manifest.networks["visual"].islands
    invoke("sensitivity", *common)
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
        "scores", weighted_bundle.path, "--answers", answers, "--report", report, "--keep", "0.8"
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
    # Eighteen sentences are too few to calibrate by, but enough to see that they were asked.
    with pytest.raises(CalibrationError, match="18 sentences"):
        invoke(
            "scores", weighted_bundle.path, "--labels", striped_labels, "--videos",
            striped_videos[0][0].parent, "--report", tmp_path, "--network-precision", "fp32",
            "--absent", "0",
        )  # fmt: skip
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert sum(one["present"] for one in found) == 18
    assert sum(not one["present"] for one in found) == 6
    assert all(one["overlap"] >= 0.5 for one in found if one["present"])
    assert all(one["overlap"] == 0 for one in found if not one["present"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["scores", "BUNDLE"],
        ["scores", "BUNDLE", "--keep", "0.9", "--precision", "0.9"],
        ["samples", "BUNDLE", "--videos", ".", "--out", "x"],
        ["samples", "BUNDLE", "--videos", "nowhere", "--out", "x", "--queries", "none.txt"],
        ["sensitivity", "BUNDLE", "--samples", "SAMPLES", "--network", "audio"],
        ["int8", "BUNDLE", "--samples", "SAMPLES", "--labels", "labels.jsonl"],
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    weighted_bundle: Bundle, sample_file: Path, arguments: list[str]
) -> None:
    known = {"BUNDLE": str(weighted_bundle.path), "SAMPLES": str(sample_file)}
    with pytest.raises(UsageError):
        invoke(*(known.get(one, one) for one in arguments))


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
