"""How a program begins and ends: streams, signals, errors and exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system import installation

SCRIPT = """
import sys, time
from vtloc_runtime.cli.console.program import new_application, run_program
from vtloc_runtime.errors import VideoError

app = new_application()

@app.command()
def wait():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

@app.command()
def show(text: str):
    print(text * 10_000)

@app.command(name="import")
def load(kind: str):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed", name="onnxruntime") from error

@app.command()
def fail(kind: str):
    if kind == "missing":
        import h5py.of_another_planet
    if kind == "foreign":
        import package_of_nobody
    if kind == "ours":
        raise VideoError("it is\\nbroken\\x1b[31m", where="film.mp4")
    raise RuntimeError("oh")

run_program(app, "program", extra="train")
"""


def start(*words: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *words],
        stdout=options.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_cleanly(sent: signal.Signals, code: int) -> None:
    process = start("wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(sent)
    shown, said = process.communicate(timeout=20)
    assert (process.returncode, shown, said) == (code, "cleaned up\n", "program: stopped\n")


def test_a_reader_that_has_gone_is_no_error() -> None:
    process = start("show", "a")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.wait(20) == 141


def test_a_full_or_closed_output_is_one_line_and_code_8() -> None:
    with Path("/dev/full").open("w") as full:
        process = start("show", "a", stdout=full)
        _, said = process.communicate(timeout=20)
    assert (process.returncode, said.count("\n")) == (8, 1)
    assert "No space left on device" in said
    closed = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" show a >&-', sys.executable, SCRIPT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (closed.returncode, closed.stderr.count("\n")) == (8, 1)


def test_closed_errors_hide_errors_only() -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", '"$0" -c "$1" fail ours 2>&-', sys.executable, SCRIPT],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize(
    ("kind", "code", "line"),
    [
        ("ours", 3, r"program: video error: film\.mp4: it is broken\\x1b\[31m"),
        ("missing", 17, r"program: missing-extra error: .*\[train\].*"),
        ("foreign", 17, r"program: missing-extra error: .*package_of_nobody.*\[train\].*"),
        ("other", 70, r"program: internal error: RuntimeError: oh\. .*VTLOC_DEBUG=1.*"),
    ],
)
def test_errors_are_one_line_and_a_code(kind: str, code: int, line: str) -> None:
    process = start("fail", kind, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    _, said = process.communicate(timeout=20)
    assert process.returncode == code
    assert re.fullmatch(line + "\n", said), said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("note", "command"),
    [
        (None, 'pip install "vtloc[cpu]"'),
        ('{"url": "file:///d/vtloc-1-py3-none-any.whl", "archive_info": {}}',
         'pip install "/d/vtloc-1-py3-none-any.whl[cpu]"'),
        ('{"url": "file:///d/a%20b", "dir_info": {"editable": true}}',
         'pip install -e "/d/a b[cpu]"'),
        ('{"url": "https://x/y.git", "vcs_info": {"vcs": "git"}}',
         'pip install "vtloc[cpu] @ git+https://x/y.git"'),
    ],
)  # fmt: skip
def test_advice_names_where_vtloc_came_from(
    note: str | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Installed:
        def read_text(self, _: str) -> str | None:
            return note

    monkeypatch.setattr("importlib.metadata.distribution", lambda _: Installed())
    assert installation.install_command("cpu") == command


def test_a_checkout_that_is_not_installed_names_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    error = MissingExtraError.for_package("opentimelineio", extra="cpu", purpose="A timeline")
    assert error.remedy == 'Install it with: pip install ".[editing]"'


@pytest.mark.parametrize(
    ("module", "entry"),
    [("vtloc_runtime.cli.main", "main"), ("vtloc.cli", "start"), ("vtloc_export.cli", "start")],
)
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_first_imports_is_one_line(
    module: str, entry: str, sent: signal.Signals, tmp_path: Path
) -> None:
    # Typer is the first large package of every program.
    slow = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    (tmp_path / "typer.py").write_text(slow)
    path = f"import sys; sys.path.insert(0, {str(tmp_path)!r})"
    script = f"{path}\nfrom {module} import {entry}\n{entry}()"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert re.fullmatch(r"vtloc[-a-z]*: stopped\n", errors)
    assert process.returncode == 128 + sent


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_package_that_was_interrupted_is_not_taken_for_missing(sent: signal.Signals) -> None:
    process = start("import", "interrupted")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert errors == "program: stopped\n"
    assert process.returncode == 128 + sent
