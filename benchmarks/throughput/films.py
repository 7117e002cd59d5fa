"""Films to measure with: ten minutes and more, written in seconds.

A film is a row of sections, each a photograph of scikit-image's with things going on before it.
A section of 250 pictures, at 30 a second, begins with a keyframe, is coded once and played again
and again; what moves ends where it began, so that nothing jumps. A decoder sees no difference to a
film that was coded whole, and every subject has a place of its own, so that questions have one
answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import Colorspace
from numpy.typing import NDArray
from skimage import data

RATE, GROUP = 30, 250
SUBJECTS = {
    "astronaut": "an astronaut in a space suit",
    "coffee": "a cup of coffee on a table",
    "chelsea": "a cat",
    "rocket": "a rocket on its launch pad",
    "horse": "the outline of a horse",
    "hubble_deep_field": "stars and galaxies",
    "camera": "a man with a camera on a tripod",
    "coins": "old coins",
    "grass": "grass",
    "brick": "a brick wall",
    "gravel": "gravel on a path",
    "moon": "the surface of the moon",
    "page": "a page of printed text",
    "retina": "the inside of an eye",
    "immunohistochemistry": "tissue under a microscope",
    "clock": "a clock",
    "text": "handwritten words",
    "stereo_motorcycle": "a motorcycle in a garage",
}
"""Photographs by scikit-image's names, with a sentence for each."""
QUERIES = tuple(SUBJECTS.values())

Image: TypeAlias = NDArray[np.uint8]
Planes: TypeAlias = tuple[Image, Image, Image]
Section: TypeAlias = Callable[[Image, int, int, np.random.Generator], Iterator[Image]]
"""The pictures of one group, YUV 4:2:0: of a photograph, so high and so wide."""


def moving(photo: Image, height: int, width: int, chance: np.random.Generator) -> Iterator[Image]:
    """A camera pans over a grainy photograph, and boxes pass before it."""
    margin = height // 4
    grown = _grown(photo, height + 2 * margin, width + 2 * margin).astype(np.float32)
    grain = chance.normal(0, 6, grown.shape[:2]).astype(np.float32)[..., None]
    luma, blue, red = _planes(np.clip(grown + grain, 0, 255).astype(np.uint8))
    turn = chance.uniform(0, 2 * np.pi)
    for number in range(GROUP):
        angle = turn + 2 * np.pi * number / GROUP
        top = int(margin / 2 * (1 + 0.9 * np.sin(angle)))
        left = int(margin / 2 * (1 + 0.9 * np.cos(angle)))
        rows, columns = slice(2 * top, 2 * top + height), slice(2 * left, 2 * left + width)
        small = slice(top, top + height // 2), slice(left, left + width // 2)
        picture = _stacked(luma[rows, columns], blue[small], red[small])
        for box in range(6):
            row = int((box + 0.5) * height / 6.5)
            column = int((number / GROUP * (1 + box % 3) + box / 6) % 1 * (width - 90))
            picture[row : row + height // 24, column : column + 90] = 40 * box
        yield picture


def slides(photo: Image, height: int, width: int, _chance: np.random.Generator) -> Iterator[Image]:
    """A still picture: the slides of a talk."""
    picture = _stacked(*_planes(_grown(photo, height, width)))
    yield from (picture for _ in range(GROUP))


def camera(photo: Image, height: int, width: int, chance: np.random.Generator) -> Iterator[Image]:
    """A camera that does not move: noise, light that breathes, and somebody who passes by."""
    luma, blue, red = _planes(_grown(photo, height, width))
    noise = chance.normal(0, 2, (8, height, width)).astype(np.float32)
    wide, high = width // 12, height // 6
    for number in range(GROUP):
        light = 1.5 * np.sin(2 * np.pi * number / GROUP)
        lit = np.clip(luma + noise[number % 8] + np.float32(light), 0, 255).astype(np.uint8)
        picture = _stacked(lit, blue, red)
        # In the first half of the group only.
        column = int(2 * number / GROUP * (width + wide)) - wide
        picture[height - 2 * high : height - high, max(0, column) : max(0, column + wide)] = 40
        yield picture


KINDS: dict[str, Section] = {"moving": moving, "slides": slides, "camera": camera}


def write_film(
    path: Path, kind: str, *, lines: int, seconds: float, group: int = GROUP, seed: int = 0
) -> Path:
    """Write a film in H.264, unless it is there.

    Args:
        path: The ``.mp4``.
        kind: One of ``KINDS``.
        lines: Rows of a picture; its shape is 16 to 9.
        seconds: How long it is, to the section of `GROUP` pictures.
        group: Pictures from one keyframe to the next at most; a section begins with one.
        seed: Decides the order of the subjects, noise and the camera's way.
    """
    if path.exists():
        return path
    height, width = lines, 2 * round(lines * 8 / 9)
    chance = np.random.default_rng(seed)
    subjects = [str(name) for name in chance.permutation(list(SUBJECTS))]
    wanted = max(1, round(seconds * RATE / GROUP))
    draft = path.with_suffix(".draft")
    with av.open(str(draft), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {
            "preset": "veryfast", "g": str(group), "forced-idr": "1", "sc_threshold": "0", "bf": "3"
        }  # fmt: skip
        # Named, so that all who read the film see the same colours.
        stream.codec_context.colorspace = Colorspace.SMPTE170M
        packets: list[av.Packet[av.VideoStream]] = []
        for index, name in enumerate(subjects[:wanted]):
            for number, picture in enumerate(KINDS[kind](_photograph(name), height, width, chance)):
                frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
                frame.pts = GROUP * index + number
                frame.pict_type = PictureType.NONE if number else PictureType.I
                packets += stream.encode(frame)
        packets += stream.encode(None)
        _mux(out, stream, packets, wanted)
    draft.replace(path)
    return path


def _mux(
    out: av.container.OutputContainer,
    stream: av.VideoStream,
    packets: list[av.Packet[av.VideoStream]],
    wanted: int,
) -> None:
    """Write each group as often as it takes to have so many in all."""
    groups = [packets[first : first + GROUP] for first in range(0, len(packets), GROUP)]
    if any(not group[0].is_keyframe for group in groups):
        raise RuntimeError("a group does not begin with a keyframe")
    written = 0
    for index, group in enumerate(groups):
        for _ in range(wanted // len(groups) + (index < wanted % len(groups))):
            shift = GROUP * (written - index)
            for packet in group:
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts = int(packet.pts or 0) + shift, int(packet.dts or 0) + shift
                copy.time_base, copy.stream = packet.time_base, stream
                copy.is_keyframe = packet.is_keyframe
                out.mux(copy)
            written += 1


def _photograph(name: str) -> Image:
    found = getattr(data, name)()
    picture = np.asarray(found[0] if isinstance(found, tuple) else found)
    if picture.dtype == bool:
        picture = 255 * picture.astype(np.uint8)
    if picture.ndim == 2:
        picture = np.stack([picture] * 3, axis=-1)
    return np.ascontiguousarray(picture[..., :3].astype(np.uint8))


def _grown(photo: Image, height: int, width: int) -> Image:
    """The largest part of the wanted shape, at the wanted size."""
    scale = min(photo.shape[0] / height, photo.shape[1] / width)
    high, wide = int(height * scale), int(width * scale)
    top, left = (photo.shape[0] - high) // 2, (photo.shape[1] - wide) // 2
    part = np.ascontiguousarray(photo[top : top + high, left : left + wide])
    frame = av.VideoFrame.from_ndarray(part, format="rgb24")
    return (
        frame.reformat(width=width, height=height, interpolation="BICUBIC")
        .to_ndarray()
        .astype(np.uint8, copy=False)
    )


def _planes(picture: Image) -> Planes:
    height, width = picture.shape[:2]
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
    stacked = frame.to_ndarray().astype(np.uint8, copy=False)
    quarter = height // 4
    small = (height // 2, width // 2)
    return (
        stacked[:height],
        stacked[height : height + quarter].reshape(small),
        stacked[height + quarter :].reshape(small),
    )


def _stacked(luma: Image, blue: Image, red: Image) -> Image:
    width = luma.shape[1]
    return np.concatenate([luma, blue.reshape(-1, width), red.reshape(-1, width)])
