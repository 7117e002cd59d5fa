"""The commands of ``vtloc``, a file each; heavy imports happen inside them."""

from __future__ import annotations

from typing import NoReturn

from vtloc_runtime.cli.console.startup import interruptible


def start() -> NoReturn:
    """Run ``vtloc`` and leave with its exit code."""
    with interruptible("vtloc"):
        from vtloc.cli.main import main
    main()
