"""``vtloc-run`` whose localizer takes its time, so that a test can act while it works."""

from __future__ import annotations

import sys
import time
from typing import Any
from unittest import mock

from vtloc_runtime.cli.main import main
from vtloc_runtime.localize.localizer import Localizer


def slow_down(seconds: float) -> None:
    """Let every question about a video take so long."""
    localize = Localizer.localize

    def slowly(*arguments: Any, **options: Any) -> Any:
        time.sleep(seconds)
        return localize(*arguments, **options)

    # The process has no other use.
    mock.patch.object(Localizer, "localize", slowly).start()


if __name__ == "__main__":
    slow_down(float(sys.argv[1]))
    main(sys.argv[2:])
