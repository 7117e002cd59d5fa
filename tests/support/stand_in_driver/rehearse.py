"""Rehearse `make prove-gpu` on the stand-in drivers: every step's command runs, nothing is proved.

python -m tests.support.stand_in_driver.rehearse runs/rehearsal
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import small_bundle, stand_in_driver
from tests.support.stand_in_driver.films import write_film


def rehearse(folder: Path, *, devices: int = 2) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    libraries = stand_in_driver.compiled(folder)
    film = write_film(folder / "films", b_frames=2)
    bundle = small_bundle.write_small_bundle(folder / "bundle")
    launcher = f"{sys.executable} -m tests.support.stand_in_driver.rehearsal"
    return subprocess.run(
        [
            sys.executable, "-m", "benchmarks.gpu.prove", "--no-install", "--launcher", launcher,
            "--out", str(folder / "proof"), "--bundle", str(bundle.path),
            "--films", str(film.parent),
        ],
        env=stand_in_driver.environment(
            libraries, devices=devices, pictures=film.with_suffix(".txt")
        ),
        cwd=stand_in_driver.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


if __name__ == "__main__":
    done = rehearse(Path(sys.argv[1]))
    sys.stdout.write(done.stdout + done.stderr)
    sys.exit(done.returncode)
