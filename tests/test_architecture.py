"""What starts light, what is typed, and how modules are named.

Who may import whom is checked by ``make contracts``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "vtloc_runtime": ROOT / "runtime" / "vtloc_runtime",
    "vtloc": ROOT / "vtloc",
    "vtloc_export": ROOT / "export" / "vtloc_export",
    "vtloc_calibration": ROOT / "calibration" / "vtloc_calibration",
}
HEAVY = {"torch", "transformers", "open_clip", "onnx", "onnxscript", "torchvision"}
LIGHT_MODULES = ["vtloc_runtime", "vtloc_runtime.cli.main", "vtloc_runtime.localize.localizer"]


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_importing_the_runtime_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(sorted(set({sorted(HEAVY)}) & sys.modules.keys()))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.parametrize("package", FOLDERS)
def test_every_package_is_typed(package: str) -> None:
    assert (FOLDERS[package] / "py.typed").is_file()


@pytest.mark.parametrize("package", FOLDERS)
def test_no_module_hides_behind_an_empty_name(package: str) -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not {file.stem for file in FOLDERS[package].rglob("*.py")} & vague
