"""What a user gets from the wheel: the four packages, the default bundle, the four commands."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = {"vtloc", "vtloc_export", "vtloc_runtime", "vtloc_calibration"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def test_the_wheel_installs_just_the_four_packages(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_the_wheel_is_typed(wheel: zipfile.ZipFile) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_the_wheel_carries_the_default_bundle(wheel: zipfile.ZipFile) -> None:
    bundle = "vtloc_runtime/bundle/default"
    files = [entry for entry in wheel.infolist() if entry.filename.startswith(f"{bundle}/")]
    assert f"{bundle}/bundle.json" in {entry.filename for entry in files}
    assert sum(entry.file_size for entry in files) < 40_000_000


def test_the_wheel_brings_the_commands(wheel: zipfile.ZipFile) -> None:
    (points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    declared = wheel.read(points).decode()
    for command in ("vtloc", "vtloc-run", "vtloc-export", "vtloc-calibrate"):
        assert f"{command} = " in declared
