"""Videos: through the sandboxed decoder up to an answer, and read in this process."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import numpy as np

from tests.fuzz import films
from tests.fuzz.mutation import mutate_bytes
from tests.fuzz.target import Input, Target, attempt
from tests.support.answers import check_answer
from tests.support.colours import write_colour_bundle
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video import VideoOptions, open_video
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

_SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", "")


class _OfFilms(Target):
    def good(self) -> Sequence[Input]:
        return (films.ten_seconds(), *films.films())

    def known(self) -> Mapping[str, Input]:
        return {
            "two pictures, 5,000 s apart": films.held_picture(5_000),
            "two pictures, 80,000 s apart": films.held_picture(80_000),
            "two pictures, 499,000 s apart": films.held_picture(499_000),
            "times that leap by 2^40": films.far_times(2**40),
            "times that leap by 80,000 s": films.far_times(80_000 * 8),
            "a canvas of 8,000 x 8,000, 2,000 frames": films.huge_animation(8_000, 2_000),
            "a canvas of 65,535 x 65,535": films.huge_animation(65_535, 2),
            "1,000 x 1,000, 5,000 frames": films.huge_animation(1_000, 5_000),
            "100 x 100, 20,000 frames": films.huge_animation(100, 20_000),
            "a picture of 2^30 x 2^30": films.huge_picture(2**30),
            "no duration": films.zero_duration(),
            "an animated WebP": films.animated_webp(),
            "an index with a sibling": films.sibling_index(),
            "a playlist": films.playlist("http://127.0.0.1:9/secret.ts"),
            "a playlist of a file": films.playlist("/etc/passwd"),
            "nothing": Input(b"", ".mp4"),
            "no film": Input(b"not a film", ".mp4"),
        }

    def make(self, chance: Random) -> Input:
        seeds = films.films()
        seed = chance.choice(seeds)
        content = mutate_bytes(
            chance,
            seed.content,
            marks=films.MARKS,
            others=[one.content for one in chance.sample(seeds, 3)],
        )
        return Input(content, seed.suffix if chance.random() < 0.8 else chance.choice(_SUFFIXES))


class IsolatedVideos(_OfFilms):
    """A file's way through ``vtloc-run``: decoder process, visual network, two sentences.

    Args:
        folder: For its files.
        bundle: The bundle that answers; None makes a small one.
    """

    name = "videos"
    count = 60
    bundle: Path | None = None

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        bundle = self.bundle or write_colour_bundle(folder / "bundle")
        self._localizer = Localizer.open(bundle, threads=1)
        self._decoder = DecoderProcess()
        self._decoder.start()

    def run(self, given: Input) -> None:
        path = self.folder / f"film{given.suffix}"
        path.write_bytes(given.content)
        video = self._localizer.encode_video(path, read=self._decoder.read)
        answers = self._localizer.localize(video, ["a red screen", "the blue screen"], moments=3)
        for answer in answers:
            check_answer(answer, video.duration)

    def processes(self) -> Sequence[int]:
        process = self._decoder._process
        return () if process is None else (process.pid,)

    def close(self) -> None:
        self._decoder.close()
        self._localizer.close()


class Videos(_OfFilms):
    """Reading in the calling process, as ``encode_video`` does by default: both strategies."""

    name = "videos-in-process"
    count = 60

    def run(self, given: Input) -> None:
        path = self.folder / f"film{given.suffix}"
        path.write_bytes(given.content)
        options = given.options
        sources: tuple[Path | bytes | io.BytesIO, ...] = (
            path,
            given.content,
            io.BytesIO(given.content),
        )
        attempt(
            lambda: _read(path, VideoOptions(workers=options.randrange(3))),
            lambda: _read(options.choice(sources), VideoOptions(strategy="everything")),
        )


def _read(source: Path | bytes | io.BytesIO, options: VideoOptions) -> None:
    last_asked, last = -1.0, None
    with open_video(source, options) as reader:
        for frame in reader:
            assert frame.image.shape == (224, 224, 3)
            assert frame.image.dtype == np.uint8
            assert frame.asked > last_asked
            assert 0 <= frame.time < float("inf")
            last_asked, last = float(frame.asked), frame
    assert last is not None
    assert 0 <= reader.duration < float("inf")
