"""``vtloc-calibrate reference``: frames of your videos, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vtloc_calibration.cli.console import print_message, progress_bar
from vtloc_calibration.cli.options import SeedOption
from vtloc_calibration.errors import CalibrationError


def reference(
    bundle: Annotated[Path, typer.Argument(help="The bundle, a directory or a name.")],
    videos: Annotated[
        list[str],
        typer.Argument(help="Videos, folders or lists, like the ones that will be asked about."),
    ],
    *,
    seed: SeedOption = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Draw the frames, without changing the bundle.")
    ] = False,
) -> None:
    """Tell "no such moment" better, with frames of your videos; no labels are needed.

    For bundles that compare sentences with a bank of ordinary ones.
    """
    from vtloc_calibration.bundle_edit import store_reference
    from vtloc_calibration.scores.answers import without_calibration
    from vtloc_calibration.scores.reference import draw_reference
    from vtloc_runtime.batch.job_lists.jobs import read_videos
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.localize.localizer import Localizer

    opened = Bundle.open(bundle)
    if opened.manifest.sentence_bank is None:
        raise CalibrationError(
            "the bundle has no sentence bank, beside which reference frames are used",
            where=opened.path,
            remedy="Export it again from its checkpoint: vtloc-export onnx",
        )
    found = read_videos(videos, notice=print_message)
    with (
        Localizer.open(without_calibration(opened)) as localizer,
        progress_bar("videos", len(found)) as advance,
    ):
        drawn = draw_reference(localizer, found, seed=seed, progress=advance)
    for video, reason in drawn.unreadable.items():
        print_message(f"left out {video}: {reason}")
    print_message(f"{len(drawn.frames.frames)} frames of {drawn.videos} videos.")
    if not dry_run:
        store_reference(opened, drawn.frames)
        print_message(f"Sentences are compared with them in {bundle} now.")
        if opened.manifest.score_calibration is not None:
            print_message(
                "Its scores were fitted to other margins: run vtloc-calibrate scores again."
            )
