"""The public API: exactly what is declared, loaded when it is used, and typed."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from vtloc_runtime import VtlocError, errors

DOCS = Path(__file__).parents[2] / "docs"
PACKAGES = ("vtloc_runtime", "vtloc_runtime.batch", "vtloc_runtime.video")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_declared_name_is_there_and_no_other(name: str) -> None:
    package = import_module(name)
    assert sorted(set(package.__all__)) == package.__all__
    assert {*package._HOMES, "__version__"} >= set(package.__all__) >= set(package._HOMES)
    for public in package.__all__:
        assert getattr(package, public) is not None
        assert public in dir(package)
    with pytest.raises(AttributeError, match=f"{name!r} has no attribute 'Localiser'"):
        _ = package.Localiser


def test_every_error_is_public() -> None:
    package = import_module("vtloc_runtime")
    declared = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, VtlocError)
    }
    assert declared <= set(package.__all__)


def test_importing_the_packages_loads_nothing_that_computes() -> None:
    program = (
        f"import sys, {', '.join(PACKAGES)}\n"
        "heavy = {'onnxruntime', 'av', 'tokenizers', 'torch', 'numpy', 'msgspec', 'typer'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert shown.stdout.strip() == b"[]"


@pytest.mark.parametrize("name", PACKAGES)
def test_type_checkers_see_declared_names_only(name: str) -> None:
    # What mypy reads: names that are imported for it, and no function that gives any name.
    source = inspect.getsource(import_module(name))
    typed, _, rest = source.partition("__all__ = [")
    for public in import_module(name)._HOMES:
        assert re.search(rf"\b{public}\b", typed)
    assert re.search(r"^if not TYPE_CHECKING:\n    __getattr__ =", rest, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set; see make test-slow"
)
def test_a_misspelt_name_fails_mypy(tmp_path: Path) -> None:
    api = pytest.importorskip("mypy.api", reason="needs mypy")
    program = tmp_path / "program.py"
    program.write_text(
        "from vtloc_runtime import Localiser\n"
        "from vtloc_runtime.batch import run_job\n"
        "from vtloc_runtime.video import open_vidoe\n"
        "from vtloc_runtime import Localizer\n"
    )
    cache = f"--cache-dir={tmp_path / 'cache'}"
    shown, _, code = api.run([cache, "--follow-imports=silent", "--strict", str(program)])
    assert code == 1
    assert re.findall(r"program.py:(\d): error: Module .* has no attribute", shown) == [
        "1",
        "2",
        "3",
    ]


@pytest.mark.parametrize("page", ["embedding.md", "video.md"])
def test_documents_import_public_names_only(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    imports = re.findall(
        r"^(?:from|import) (vtloc_runtime\S*)(?: import (.*))?$", text, re.MULTILINE
    )
    assert imports
    for package, names in imports:
        assert package in PACKAGES
        for name in names.split(", "):
            assert name in import_module(package).__all__
