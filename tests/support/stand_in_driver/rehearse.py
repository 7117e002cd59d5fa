"""Rehearse `make prove-gpu` on the stand-in drivers: every step's command runs, nothing is proved.

python -m tests.support.stand_in_driver.rehearse runs/rehearsal
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support import stand_in_driver
from tests.support.stand_in_driver.films import write_film


def write_bundle(folder: Path) -> Path:
    """A bundle of tiny networks with PyTorch behind them, so that verifying has its reference."""
    from tests.support import tiny_encoders
    from tests.support.tiny_checkpoint import write_tiny_checkpoint
    from vtloc_export.bundle_export import export_bundle
    from vtloc_export.options import ExportOptions

    clip = tiny_encoders.register_tiny_clip(folder)
    (folder / "bert").mkdir()
    bert = tiny_encoders.write_tiny_bert(folder / "bert")
    checkpoint = write_tiny_checkpoint(
        folder / "tiny.safetensors", visual_encoder=f"open_clip:{clip}", text_encoder=f"hf:{bert}"
    )
    options = ExportOptions(precisions=("fp32", "fp16"), lint=False)
    return export_bundle(checkpoint, folder / "bundle", options).bundle.path


def rehearse(folder: Path, *, devices: int = 2) -> subprocess.CompletedProcess[str]:
    """Run the script in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    libraries = stand_in_driver.compiled(folder)
    film = write_film(folder / "films", b_frames=2)
    encoders = folder / "encoders"
    encoders.mkdir()
    bundle = write_bundle(encoders)
    launcher = f"{sys.executable} -m tests.support.stand_in_driver.rehearsal"
    return subprocess.run(
        [
            sys.executable, "-m", "benchmarks.gpu.prove", "--no-install", "--launcher", launcher,
            "--out", str(folder / "proof"), "--bundle", str(bundle),
            "--films", str(film.parent),
        ],
        env=stand_in_driver.environment(
            libraries, devices=devices, pictures=film.with_suffix(".txt"), encoders=encoders
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
