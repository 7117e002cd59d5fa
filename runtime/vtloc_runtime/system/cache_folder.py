"""Where vtloc keeps encoded videos, and how many."""

from __future__ import annotations

import os
from pathlib import Path

from vtloc_runtime.errors import OutputError

FOLDER_VARIABLE = "VTLOC_CACHE"
DEFAULT_CACHE_BYTES = 10 * 2**30
"""Size of the feature cache at most, unless another is given."""


def default_folder() -> Path:
    """The folder of the feature cache: ``$VTLOC_CACHE``, or one in the user's cache folder.

    Raises:
        OutputError: The user has no home folder.
    """
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    try:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError as error:
        raise OutputError(
            "there is no default cache folder: this user has no home folder",
            remedy=f"Name a folder in {FOLDER_VARIABLE}, or go without: --no-cache",
        ) from error
    return Path(home) / "vtloc" / "features"
