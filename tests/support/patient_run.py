"""``vtloc-run`` with accidents: workers that wait in the middle of a film, or die of one.

A node whose environment names a folder as ``VTLOC_TEST_HOLD`` holds each of its workers in the
film whose number, from 1, the folder's file ``from`` gives, and in later ones: the worker notes
the film there, and goes on once there is a file called ``go``. A film called ``fatal.mp4`` ends
every worker. ``VTLOC_TEST_BUNDLE``, in the driver's own environment, has the bundle ``lost`` or
``changed`` between the driver's look at it and the workers'.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from vtloc_runtime.batch import answer
from vtloc_runtime.batch.job_lists.jobs import VideoJobs
from vtloc_runtime.batch.results.records import Record
from vtloc_runtime.cli import find_run
from vtloc_runtime.cli.main import main
from vtloc_runtime.cluster import connection as cluster
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video.isolation.chunks import Read

_share = cluster.share


class Patiently(answer.AnswerVideos):
    """Answers as always, once it is allowed to.

    It travels whole, because this module is a program, so it keeps its counts in files.
    """

    def do(self, localizer: Localizer, task: VideoJobs, read: Read, **options: Any) -> list[Record]:
        """Answer every job of one video."""
        film = Path(task.video).name
        folder = os.environ.get("VTLOC_TEST_HOLD")
        if folder is not None:
            notes = Path(folder)
            (notes / f"{os.getpid()} {film} begun").touch()
            begun = len(list(notes.glob(f"{os.getpid()} * begun")))
            if begun >= int((notes / "from").read_text()):
                (notes / f"{os.getpid()} {film} held").touch()
                while not (notes / "go").exists():
                    time.sleep(0.02)
        if film == "fatal.mp4":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().do(localizer, task, read, **options)


def share_and_spoil(content: dict[str, bytes]) -> Any:
    """Send the bundle's files; what lies at its path then is no longer what was sent."""
    shared = _share(content)
    bundle = Path(sys.argv[sys.argv.index("-b") + 1])
    if os.environ["VTLOC_TEST_BUNDLE"] == "lost":
        shutil.rmtree(bundle)
    else:
        manifest = bundle / "bundle.json"
        manifest.write_bytes(manifest.read_bytes() + b"\n")
    return shared


if __name__ == "__main__":
    find_run.AnswerVideos = Patiently  # type: ignore[attr-defined]  # the command looks it up there
    if "VTLOC_TEST_BUNDLE" in os.environ:
        cluster.share = share_and_spoil
    main()
