"""The script that proves the GPU path: its judgements, and a rehearsal of every step."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.gpu import prove
from tests.support.stand_in_driver.rehearse import rehearse


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


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set")
def test_every_step_runs_on_the_stand_in_drivers(tmp_path: Path) -> None:
    done = rehearse(tmp_path)
    steps = json.loads((tmp_path / "proof" / "steps.json").read_text())
    states = {step["name"]: step["state"] for step in steps}
    # The small bundle has no PyTorch network behind it.
    assert [name for name, state in states.items() if state == "failed"] == ["verify with labels"]
    assert states["the same with NVDEC"] == states["the same on two GPUs"] == "ok", done.stdout
    assert (tmp_path / "proof.tar.gz").is_file()
