"""Of several video streams the one that plays is read, never a still beside it."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest
from av.stream import Disposition

from tests.support import films
from vtloc_runtime.errors import VideoError

SIZES = {"small": (64, 48), "large": (320, 240)}


def film_of(*streams: tuple[str, int, Disposition], container: str = "mp4") -> bytes:
    """Streams of a size, a number of pictures (from 1000 k on) and a disposition."""
    target = io.BytesIO()
    with av.open(target, "w", container) as out:
        added = []
        for size, _, disposition in streams:
            stream = out.add_stream("libx264", rate=20)
            stream.width, stream.height = SIZES[size]
            stream.pix_fmt = "yuv420p"
            stream.disposition = disposition
            added.append(stream)
        for index, (size, count, _) in enumerate(streams):
            for number in range(count):
                picture = films.numbered_picture(1000 * index + number, *SIZES[size])
                frame = av.VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 20)
                out.mux(added[index].encode(frame))
            out.mux(added[index].encode(None))
    return target.getvalue()


NONE, DEFAULT = Disposition(0), Disposition.default


@pytest.mark.parametrize("strategy", ["needed", "everything"])
@pytest.mark.parametrize("still", [NONE, DEFAULT, Disposition.attached_pic | DEFAULT])
@pytest.mark.parametrize(("moving", "first"), [(NONE, True), (DEFAULT, True), (DEFAULT, False)])
def test_a_still_beside_a_film_is_never_taken(
    strategy: str, still: Disposition, moving: Disposition, first: bool, read
) -> None:
    streams = [("large", 1, still), ("small", 40, moving)]
    data = film_of(*(streams if first else reversed(streams)))
    start = 1000 if first else 0
    assert read(data, strategy=strategy) == [start, start + 20]


def test_the_default_stream_goes_before_a_larger_one(read) -> None:
    data = film_of(("large", 40, NONE), ("small", 40, DEFAULT), container="matroska")
    assert read(data) == [1000, 1020]


def test_a_named_stream_is_taken_even_if_it_is_a_still(read) -> None:
    data = film_of(("large", 1, DEFAULT), ("small", 40, DEFAULT))
    assert read(data, stream=0) == [0]
    with pytest.raises(VideoError, match=r"there is no stream 2\. Choose one from 0 to 1"):
        read(data, stream=2)


def test_among_stills_the_default_is_taken(read) -> None:
    assert read(film_of(("small", 1, NONE), ("large", 1, DEFAULT))) == [1000]
    assert read(film_of(("small", 1, DEFAULT), ("large", 1, NONE))) == [0]
