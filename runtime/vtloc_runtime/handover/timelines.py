"""Moments as an edit in OpenTimelineIO's own format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.handover.cuts import TITLE

if TYPE_CHECKING:
    from vtloc_runtime.handover.cuts import Cut
    from vtloc_runtime.handover.timecode import FrameRate

_MARK = "vtloc"


def write_otio(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """An OpenTimelineIO file: one track with a clip for each moment.

    Raises:
        MissingExtraError: OpenTimelineIO is not installed.
    """
    otio = _otio()
    timeline = _timeline(otio, cuts, rate)
    content: str = otio.adapters.write_to_string(timeline, "otio_json")
    return content.encode()


def is_otio(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_otio``."""
    ours = f'"metadata": {{\n        "{_MARK}": {{'.encode()
    return beginning.startswith(b'{\n    "OTIO_SCHEMA": "Timeline') and ours in beginning[:200]


def _timeline(otio: Any, cuts: Sequence[Cut], rate: FrameRate) -> Any:
    """A timeline of cuts, one after the other."""
    time, span = otio.opentime.RationalTime, otio.opentime.TimeRange
    frames = float(rate.value)
    timeline = otio.schema.Timeline(TITLE, metadata={_MARK: {"format": 1}})
    track = otio.schema.Track("moments", kind=otio.schema.TrackKind.Video)
    for cut in cuts:
        zero = cut.first_frame(rate)
        media = otio.schema.ExternalReference(
            cut.address, available_range=span(time(zero, frames), time(cut.length, frames))
        )
        media.name = cut.name
        track.append(
            otio.schema.Clip(
                name=f"{cut.name}: {cut.text}",
                media_reference=media,
                source_range=span(
                    time(zero + cut.start, frames), time(cut.end - cut.start, frames)
                ),
                metadata={_MARK: {"query": cut.text, "rank": cut.rank, "score": cut.score}},
            )
        )
    timeline.tracks.append(track)
    return timeline


def _otio() -> Any:
    try:
        import opentimelineio
    except ImportError as error:
        raise MissingExtraError.for_package(
            "opentimelineio", extra="editing", purpose="An OpenTimelineIO file", cause=error
        ) from error
    return opentimelineio
