"""Starts a command with TensorRT's double on the stand-in driver: what a rehearsal launches.

python -m tests.support.stand_in_driver.rehearsal vtloc_runtime.cli.main film.mp4 -q ...
"""

from __future__ import annotations

import importlib
import os
import sys

from tests.support.stand_in_driver import machine


def main() -> None:
    """Put the double in place, and become the command."""
    machine.install()
    if sys.argv[1:3] == ["vtloc_export.cli.main", "verify"]:
        # What PyTorch is to load goes by a name that this process must know.
        import open_clip

        open_clip.add_model_config(os.environ["CUDA_STAND_IN_ENCODERS"])
    del sys.argv[0]
    module = importlib.import_module(sys.argv[0])
    module.main()


if __name__ == "__main__":
    main()
