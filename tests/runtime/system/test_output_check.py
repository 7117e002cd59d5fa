"""An output is never an input, however it is spelled, and never a stranger's file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtloc_runtime.errors import OutputError
from vtloc_runtime.system.output_check import check_distinct, check_output


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").write_bytes(b"a film")
    (tmp_path / "soft.mp4").symlink_to("film.mp4")
    os.link("film.mp4", "hard.mp4")
    (tmp_path / "folder").symlink_to(".")
    return tmp_path / "film.mp4"


@pytest.mark.parametrize(
    "spelling", ["film.mp4", "./x/../film.mp4", "soft.mp4", "hard.mp4", "folder/film.mp4"]
)
def test_an_input_is_refused_by_any_name(film: Path, spelling: str) -> None:
    Path("x").mkdir()
    for given in (film, "soft.mp4", "hard.mp4"):
        with pytest.raises(OutputError, match="a video, which is an input"):
            check_output(spelling, inputs=[("a video", given)], ours=lambda _: True)
    assert film.read_bytes() == b"a film"


def test_a_file_of_something_else_is_left_alone(film: Path) -> None:
    with pytest.raises(OutputError, match="did not write"):
        check_output(film, ours=lambda beginning: beginning.startswith(b"{"))
    with pytest.raises(OutputError, match="did not write"):
        check_output(film)
    check_output(film, ours=lambda beginning: beginning == b"a film")


def test_nothing_is_written_into_a_bundle(film: Path) -> None:
    bundle = Path("bundle")
    (bundle / "engines").mkdir(parents=True)
    (bundle / "model.onnx").write_bytes(b"weights")
    os.link(bundle / "model.onnx", "elsewhere")
    for place in ("bundle", "bundle/new", "bundle/engines/new", "folder/bundle/x", "elsewhere"):
        with pytest.raises(OutputError, match="the bundle, which is an input"):
            check_output(place, inputs=[("the bundle", bundle)], ours=lambda _: True)
    check_output("bundle.jsonl", inputs=[("the bundle", bundle)])


def test_new_files_empty_files_and_devices_are_fine(film: Path) -> None:
    Path("empty").touch()
    for place in ("new", "deep/new", "empty", "/dev/null"):
        check_output(place, inputs=[("a video", film), ("a video", "/dev/null")])
    assert not Path("new").exists()
    assert Path("empty").read_bytes() == b""


def test_a_name_that_is_not_there_yet_may_still_be_an_input(film: Path) -> None:
    with pytest.raises(OutputError, match="input"):
        check_output("folder/gone.mp4", inputs=[("a video", "gone.mp4")])


def test_two_outputs_need_two_files(film: Path) -> None:
    with pytest.raises(OutputError, match="--out and --report name the same file"):
        check_distinct([("--out", "new"), ("--report", "folder/new")])
    with pytest.raises(OutputError, match="same file"):
        check_distinct([("--out", film), ("--report", "hard.mp4")])
    check_distinct([("--out", "new"), ("--report", None), ("--other", "newer")])
