"""The commands of ``vtloc-calibrate``."""

from __future__ import annotations

from typing import NoReturn

from vtloc_runtime.cli.console.startup import interruptible


def start() -> NoReturn:
    """Run ``vtloc-calibrate`` and leave with its exit code."""
    with interruptible("vtloc-calibrate"):
        from vtloc_calibration.cli.main import main
    main()
