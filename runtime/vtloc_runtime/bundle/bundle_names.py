"""Bundles that are known by name: folders of the user's, such as ``clip-b32``.

A name is looked up where no folder of that name is found from the working directory. Whatever
contains a path separator is a path.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path

from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.errors import BundleError, UsageError

FOLDER_VARIABLE = "VTLOC_BUNDLES"
"""Environment variable with the folder of named bundles."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def bundles_folder() -> Path | None:
    """The folder of named bundles; it need not exist.

    ``$VTLOC_BUNDLES``, or ``vtloc/bundles`` in the user's data folder (``$XDG_DATA_HOME``,
    ``~/.local/share``); None for a user without a home folder.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    if not (home := os.environ.get("XDG_DATA_HOME")):
        try:
            home = str(Path.home() / ".local" / "share")
        except RuntimeError:
            return None
    return Path(home) / "vtloc" / "bundles"


def named_folder(name: str) -> Path:
    """The folder that a bundle of this name has; it need not exist.

    Args:
        name: Letters, digits, dots, dashes and underscores.

    Raises:
        UsageError: It cannot be the name of a bundle, or the user has no home folder.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} cannot be the name of a bundle",
            remedy="Use letters, digits, dots, dashes and underscores, as in clip-b32",
        )
    folder = bundles_folder()
    if folder is None:
        raise UsageError(
            "bundles cannot be kept by name: this user has no home folder",
            remedy=f"Name a folder in {FOLDER_VARIABLE}",
        )
    return folder / name


def bundle_names() -> tuple[str, ...]:
    """The names of the bundles in the user's folder, damaged ones included, in order."""
    folder = bundles_folder()
    try:
        found = [] if folder is None else list(folder.iterdir())
    except OSError:
        return ()
    return tuple(sorted(one.name for one in found if _NAME.fullmatch(one.name) and one.is_dir()))


def find_bundle(given: str | os.PathLike[str]) -> Path:
    """The path that was given, or the folder of the bundle that it names.

    Args:
        given: A path, or a name.

    Raises:
        BundleError: It is a name, and no bundle has it.
    """
    text = os.fspath(given)
    path = Path(text)
    if not _NAME.fullmatch(text) or _exists(path):
        return path
    folder = bundles_folder()
    if folder is not None and (folder / text / MANIFEST_NAME).is_file():
        return folder / text
    names = bundle_names()
    if near := get_close_matches(text, names, n=3, cutoff=0.5):
        remedy = f"Did you mean {' or '.join(near)}? vtloc-run bundles lists all"
    elif names:
        remedy = f"Named bundles are: {', '.join(names[:8])}. A folder's path works as well"
    else:
        remedy = "Make it with vtloc-export onnx ... --name NAME, or give a bundle's folder"
    raise BundleError(
        "there is no such bundle: neither a folder nor a named bundle has this name",
        where=text,
        remedy=remedy,
    )


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True
