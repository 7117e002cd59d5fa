"""Nothing is looked up and nothing is sent: ONNX Runtime's telemetry is off before it starts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ASK = """
import numpy as np, sys, time
from vtloc_runtime import Localizer
from vtloc_runtime.video import FrameSequence
with Localizer.open(sys.argv[1], threads=1) as localizer:
    pictures = np.zeros((4, 32, 32, 3), np.uint8)
    localizer.localize(FrameSequence(pictures, np.arange(4.0)), "red")
"""
PLAIN = """
import onnxruntime, sys
onnxruntime.InferenceSession(sys.argv[1] + "/visual.fp32.onnx", providers=["CPUExecutionProvider"])
"""


def run(program: str, bundle: Path, home: Path, *before: str) -> str:
    home.mkdir(exist_ok=True)
    # A continuous integration service is recognised by its variables, and spared telemetry.
    kept = {"PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    done = subprocess.run(
        [*before, sys.executable, "-c", program, str(bundle)],
        env={**environment, "HOME": str(home)},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stderr


def test_no_device_is_given_an_id(colour_bundle: Path, tmp_path: Path) -> None:
    run(PLAIN, colour_bundle, tmp_path / "plain")
    if not list((tmp_path / "plain").rglob("deviceid")):
        pytest.skip("this ONNX Runtime writes no device id, so nothing would be seen")
    run(ASK, colour_bundle, tmp_path / "ours")
    written = [path for path in (tmp_path / "ours").rglob("*") if path.is_file()]
    assert not [path for path in written if "vtloc" not in str(path.relative_to(tmp_path))]


def test_no_name_is_looked_up(colour_bundle: Path, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    calls = tmp_path / "calls"
    command = (strace, "-f", "-qq", "-e", "trace=socket,connect,sendto", "-o", str(calls))
    try:
        run(ASK, colour_bundle, tmp_path / "home", *command)
    except subprocess.CalledProcessError as error:
        if "ptrace" in (error.stderr or ""):
            pytest.skip("processes cannot be traced here")
        raise
    assert not re.findall(r"AF_INET6?\b.*", calls.read_text())


@pytest.mark.parametrize("module", ["vtloc_export", "vtloc_calibration"])
def test_programs_beside_the_runtime_switch_it_off_as_they_start(module: str) -> None:
    program = f"import os, {module}; print(os.environ.get('ORT_DISABLE_TELEMETRY'))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "1"


def test_onnxruntime_is_imported_in_one_place_only() -> None:
    root = Path(__file__).parents[3]
    found = {
        str(path.relative_to(root))
        for folder in ("runtime", "export", "calibration", "vtloc")
        for path in (root / folder).rglob("*.py")
        if re.search(r"^\s*(import|from) onnxruntime\b", path.read_text(), re.MULTILINE)
    }
    assert found == {
        "runtime/vtloc_runtime/networks/onnxruntime_package.py",
        # Makes the options of a run, of a package that is loaded by then.
        "runtime/vtloc_runtime/networks/onnxruntime_backend.py",
    }
