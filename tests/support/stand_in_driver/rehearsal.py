"""Starts a command with TensorRT's double on the stand-in driver: what a rehearsal launches.

python -m tests.support.stand_in_driver.rehearsal vtloc_runtime.cli.main film.mp4 -q ...
"""

from __future__ import annotations

import importlib
import sys

from tests.support.stand_in_driver import machine


def main() -> None:
    """Put the double in place, and become the command."""
    machine.install()
    del sys.argv[0]
    module = importlib.import_module(sys.argv[0])
    module.main()


if __name__ == "__main__":
    main()
