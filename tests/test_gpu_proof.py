"""The script that proves the GPU path: its judgements, and a rehearsal of every step."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.gpu import checks, prove
from tests.support import nvdec_double
from tests.support.stand_in_driver.rehearse import rehearse
from vtloc_runtime.bench.video import write_bench_video
from vtloc_runtime.video.decoders.nvdec.session import Surface


def records(*starts: float) -> list[dict[str, object]]:
    return [{"moments": [{"start": start, "end": start + 2}], "error": None} for start in starts]


def test_moments_that_lie_elsewhere_are_counted() -> None:
    assert prove.moved(records(1, 2), records(1.05, 2)) == pytest.approx((0, 0.05))
    assert prove.moved(records(1, 2), records(1, 5)) == pytest.approx((1, 3))
    with pytest.raises(RuntimeError, match="1 answers, not 2"):
        prove.moved(records(1, 2), records(1))


def test_a_step_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch) -> None:
    proof = prove.Proof(tmp_path, None, ["false"], [])

    def fail() -> str:
        raise RuntimeError("first line\nthe reason")

    def skip() -> str:
        raise prove.SkippedError("no such GPU")

    for name, work in (("one", fail), ("two", skip), ("three", lambda: "done")):
        proof.step(name, work)
    monkeypatch.setattr(prove, "BUDGET", -1.0)
    proof.step("four", lambda: "done")
    assert [(step.state, step.detail) for step in proof.steps] == [
        ("failed", "the reason"),
        ("skipped", "no such GPU"),
        ("ok", "done"),
        ("skipped", "out of time"),
    ]
    assert "| three | ok |" in prove.write_table(proof).read_text()
    with pytest.raises(RuntimeError, match="see "):
        proof.call("command", "module")


def test_each_model_of_gpu_gets_engines_of_its_own(tmp_path: Path, monkeypatch) -> None:
    a100, l4 = "NVIDIA A100-SXM4-80GB", "NVIDIA L4"
    asked: list[tuple[str, object]] = []
    proof = prove.Proof(tmp_path, None, ["true"], [])

    def call(name: str, *words: object, gpu: int | None = None) -> str:
        asked.append((name, gpu))
        return "found " * 3

    monkeypatch.setattr(proof, "call", call)
    for models in ([a100, a100, l4], [a100, a100]):
        monkeypatch.setattr(prove, "gpu_models", lambda found=models: found)
        for _, work in list(prove.engines(proof))[:-1]:
            work()
    both = [(f"{name}-{gpu}", gpu) for gpu in (0, 2) for name in ("build", "kept", "frozen")]
    assert asked == [*both, ("build-0", None), ("kept-0", None), ("frozen-0", None)]


def test_a_gpu_is_named_as_the_commands_are_to_see_it(monkeypatch) -> None:
    monkeypatch.delenv(prove.VISIBLE, raising=False)
    assert prove.visible(2) == "2"
    monkeypatch.setenv(prove.VISIBLE, "5,GPU-7f3c,1")
    assert prove.visible(1) == "GPU-7f3c"


def test_the_psnr_of_nvdec_s_frames_is_stated(tmp_path: Path, monkeypatch) -> None:
    """Frames that a GPU decodes otherwise than the processor show in it, as in lerobot #913."""
    film = write_bench_video(tmp_path, seconds=3, width=96, height=64)
    with nvdec_double.installed():
        found = checks.pictures(None, [film])
        assert (found["psnr_db"], found["ok"]) == ("equal in every bit", True)
        assert found["frames"] == 6
        read = Surface.read

        def off_by_two(surface: Surface) -> object:
            # The first picture is right, as the reader makes sure; later ones are not.
            return read(surface) if surface.token == 1 else read(surface) + 2

        monkeypatch.setattr(Surface, "read", off_by_two)
        found = checks.pictures(None, [film])
    assert not found["ok"]
    assert 30 < found["psnr_db"] < 50


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set")
def test_every_step_runs_on_the_stand_in_drivers(tmp_path: Path) -> None:
    done = rehearse(tmp_path)
    steps = json.loads((tmp_path / "proof" / "steps.json").read_text())
    states = {step["name"]: step["state"] for step in steps}
    assert [step for step in steps if step["state"] == "failed"] == []
    assert states["verify with labels"] == "ok"
    assert states["the same with NVDEC"] == states["the same on two GPUs"] == "ok", done.stdout
    assert (tmp_path / "proof.tar.gz").is_file()
