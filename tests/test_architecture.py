"""The directions that keep the house standing: who may import whom, and what starts light."""

from __future__ import annotations

import ast
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
MAY_IMPORT = {
    "vtloc_runtime": {"vtloc_runtime"},
    "vtloc": {"vtloc_runtime", "vtloc"},
    "vtloc_export": {"vtloc_runtime", "vtloc", "vtloc_export"},
    "vtloc_calibration": set(FOLDERS),
}
HEAVY = {"torch", "transformers", "open_clip", "onnx", "onnxscript", "torchvision"}
LIGHT_MODULES = ["vtloc_runtime", "vtloc_runtime.cli.main", "vtloc_runtime.localize.localizer"]


def imported_packages(file: Path) -> set[str]:
    """Top-level packages that a file imports anywhere, inside functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", FOLDERS)
def test_imports_point_one_way(package: str) -> None:
    files = sorted(FOLDERS[package].rglob("*.py"))
    assert files
    for file in files:
        strangers = (imported_packages(file) & set(FOLDERS)) - MAY_IMPORT[package]
        assert not strangers, f"{file.relative_to(ROOT)} imports {sorted(strangers)}"


def test_the_runtime_never_imports_the_training_stack() -> None:
    for file in FOLDERS["vtloc_runtime"].rglob("*.py"):
        heavy = imported_packages(file) & HEAVY
        assert not heavy, f"{file.relative_to(ROOT)} imports {sorted(heavy)}"


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
