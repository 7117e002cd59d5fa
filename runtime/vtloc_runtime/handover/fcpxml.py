"""Moments as a project of Final Cut Pro.

Written here, because OpenTimelineIO's adapter rounds 23.976 and 29.97 frames a second to whole
numbers. See https://developer.apple.com/documentation/professional-video-applications.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from vtloc_runtime.handover.cuts import TITLE, timecodes

if TYPE_CHECKING:
    from vtloc_runtime.handover.cuts import Cut
    from vtloc_runtime.handover.timecode import FrameRate, Timecode

_MARK = "<!-- moments found by vtloc -->"
_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n{_MARK}\n<!DOCTYPE fcpxml>\n'


def write_fcpxml(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """An FCPXML 1.9 file: one project whose storyline has a clip for each moment."""
    root = ET.Element("fcpxml", version="1.9")
    resources = ET.SubElement(root, "resources")
    first = cuts[0]
    ET.SubElement(
        resources,
        "format",
        id="r1",
        frameDuration=_time(1 / rate.value),
        width=str(first.width),
        height=str(first.height),
    )
    assets = {path: f"r{number}" for number, path in enumerate(_paths(cuts), start=2)}
    for cut in {cut.path: cut for cut in cuts}.values():
        asset = ET.SubElement(
            resources,
            "asset",
            id=assets[cut.path],
            name=cut.name,
            start=_time(rate.seconds(cut.first_frame(rate))),
            duration=_time(rate.seconds(max(one.length for one in cuts if one.path == cut.path))),
            hasVideo="1",
            format="r1",
        )
        if cut.sound:
            asset.set("hasAudio", "1")
        ET.SubElement(asset, "media-rep", kind="original-media", src=cut.address)
    event = ET.SubElement(ET.SubElement(root, "library"), "event", name=TITLE)
    project = ET.SubElement(event, "project", name=TITLE)
    whole = sum(cut.end - cut.start for cut in cuts)
    sequence = ET.SubElement(
        project,
        "sequence",
        format="r1",
        tcStart="0s",
        # Of films that differ, drop-frame keeps up with the clock.
        tcFormat=_format(max(timecodes(cuts, rate), key=lambda one: one.drop)),
        duration=_time(rate.seconds(whole)),
    )
    spine = ET.SubElement(sequence, "spine")
    offset = 0
    for cut in cuts:
        clip = ET.SubElement(
            spine,
            "asset-clip",
            ref=assets[cut.path],
            name=cut.text,
            offset=_time(rate.seconds(offset)),
            start=_time(rate.seconds(cut.first_frame(rate) + cut.start)),
            duration=_time(rate.seconds(cut.end - cut.start)),
            tcFormat=_format(cut.timecode_at(rate)),
        )
        ET.SubElement(clip, "note").text = f"{cut.name}, score {cut.score:.2f}"
        offset += cut.end - cut.start
    ET.indent(root)
    return f"{_HEAD}{ET.tostring(root, encoding='unicode')}\n".encode()


def is_fcpxml(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_fcpxml``."""
    return beginning.startswith(_HEAD.encode())


def _paths(cuts: Sequence[Cut]) -> list[str]:
    return list(dict.fromkeys(cut.path for cut in cuts))


def _format(timecode: Timecode) -> str:
    return "DF" if timecode.drop else "NDF"


def _time(seconds: Fraction) -> str:
    """A time as FCPXML writes it: ``1001/24000s``."""
    if seconds.denominator == 1:
        return f"{seconds.numerator}s"
    return f"{seconds.numerator}/{seconds.denominator}s"
