"""An output is never an input, and never replaces what vtloc did not write."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path

from vtloc_runtime.errors import OutputError

_REMEDY = "Choose another place"
_ENOUGH = 2**16


def check_output(
    path: str | Path,
    *,
    inputs: Iterable[tuple[str, str | Path]] = (),
    ours: Callable[[bytes], bool] | None = None,
) -> None:
    """Refuse to write to a file that something would be lost in.

    Files are compared by what they are, not by how they are spelled: through ``..``, symbolic
    links and hard links. Pipes and devices hold nothing that could be lost.

    Args:
        path: Where the output would go.
        inputs: What each input is, such as ``the list``, and its path. An output may not lie
            inside an input that is a folder.
        ours: Given the first 64 KiB of a file, whether vtloc wrote it, so that it may be
            replaced; None allows no file that holds anything.

    Raises:
        OutputError: The file is an input, lies in one, or holds something else.
    """
    state = _state(path)
    for what, given in inputs:
        if _same(path, state, given):
            raise OutputError(f"this is {what}, which is an input", where=path, remedy=_REMEDY)
        if os.path.isdir(given) and _inside(path, state, given):
            raise OutputError(
                f"this lies inside {what}, which is an input", where=path, remedy=_REMEDY
            )
    if state is None or not stat.S_ISREG(state.st_mode) or state.st_size == 0:
        return
    if ours is None or not ours(_beginning(path)):
        raise OutputError(
            "the file holds something that vtloc did not write; it is left alone",
            where=path,
            remedy=_REMEDY,
        )


def check_distinct(outputs: Iterable[tuple[str, str | Path | None]]) -> None:
    """Refuse to write two outputs to one file.

    Args:
        outputs: The option that names each output, and its path; None where it is not asked for.

    Raises:
        OutputError: Two of them are the same file.
    """
    seen: list[tuple[str, str | Path]] = []
    for option, path in outputs:
        if path is None:
            continue
        for other, taken in seen:
            if _same(path, _state(path), taken):
                raise OutputError(f"{other} and {option} name the same file", where=path)
        seen.append((option, path))


def _state(path: str | Path) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _same(path: str | Path, state: os.stat_result | None, given: str | Path) -> bool:
    """Whether two paths lead to one regular file or folder."""
    if state is None:
        # Nothing is there yet. The name alone rules nearly every input out.
        real = os.path.realpath(path)
        return os.path.basename(given) == os.path.basename(real) and os.path.realpath(given) == real
    if not (stat.S_ISREG(state.st_mode) or stat.S_ISDIR(state.st_mode)):
        return False
    other = _state(given)
    return other is not None and os.path.samestat(state, other)


def _inside(path: str | Path, state: os.stat_result | None, folder: str | Path) -> bool:
    """Whether a file lies in a folder, or is one of its files by another name."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    if os.path.commonpath([real, root]) == root:
        return True
    if state is None or not stat.S_ISREG(state.st_mode):
        return False
    return any(
        _same(path, state, os.path.join(place, name))
        for place, _, names in os.walk(root)
        for name in names
    )


def _beginning(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_ENOUGH)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=path) from error
