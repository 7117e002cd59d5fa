"""The commands of ``vtloc-export``."""

from __future__ import annotations

from typing import NoReturn

from vtloc_runtime.cli.console.startup import interruptible


def start() -> NoReturn:
    """Run ``vtloc-export`` and leave with its exit code."""
    with interruptible("vtloc-export"):
        from vtloc_export.cli.main import main
    main()
