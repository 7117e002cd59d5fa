"""What a process inside the sandbox can still do, tried from inside."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.sandbox_probes import Probed, probe_sandbox
from vtloc_runtime.video.isolation.sandbox_report import LAYERS, SandboxReport

ON_LINUX = sys.platform == "linux" and platform.machine() in {"x86_64", "aarch64"}


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Probed:
    return probe_sandbox(tmp_path_factory.mktemp("probes"))


@pytest.mark.skipif(not ON_LINUX, reason="the filter knows Linux on these processors")
def test_nothing_outside_can_be_reached(probed: Probed) -> None:
    if "seccomp" not in probed.held:
        pytest.skip(f"the kernel has no filter here: {probed.missing}")
    assert [name for name, outcome in probed.denied.items() if outcome == "done"] == []
    assert probed.connections == 0
    assert probed.left == ["inside"]


@pytest.mark.skipif(not ON_LINUX, reason="the filter knows Linux on these processors")
def test_what_decoding_needs_still_works(probed: Probed) -> None:
    assert {name: outcome for name, outcome in probed.allowed.items() if outcome != "done"} == {}


def test_every_layer_is_accounted_for(probed: Probed) -> None:
    assert set(probed.held) | set(probed.missing) == set(LAYERS)
    assert not set(probed.held) & set(probed.missing)


def test_a_second_thread_would_be_outside_and_is_said(tmp_path: Path) -> None:
    code = """
import os, threading, time
from vtloc_runtime.video.isolation.sandbox import enter_sandbox
threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
report = enter_sandbox(orphaned=None, gpu=False)
print(report, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        timeout=60,
        check=True,
    )
    assert "without landlock (1 other threads run already)" in done.stdout
    assert "seccomp (1 other threads run already)" in done.stdout


def test_a_report_says_what_holds_and_what_does_not() -> None:
    whole = SandboxReport(dict.fromkeys(LAYERS, ""))
    assert whole.complete
    assert str(whole).startswith("complete (parent-death, ")
    part = SandboxReport({"landlock": "ABI 3"}, {"seccomp": "no filter for riscv64 processors"})
    assert not part.complete
    assert str(part) == "landlock ABI 3; without seccomp (no filter for riscv64 processors)"
