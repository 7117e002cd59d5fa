"""Moments as an edit: OpenTimelineIO's own format, and edit decision lists (CMX 3600)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vtloc_runtime.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from vtloc_runtime.handover.cuts import Cut, FrameRate

TITLE = "vtloc moments"
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


def write_edl(cuts: Sequence[Cut], rate: FrameRate) -> bytes:
    """An edit decision list; at 29.97 and 59.94 frames a second its timecode is drop-frame.

    Raises:
        MissingExtraError: OpenTimelineIO, or its adapter, is not installed.
        UsageError: There is no timecode at that rate.
    """
    otio = _otio()
    if not otio.opentime.RationalTime.is_smpte_timecode_rate(float(rate.value)):
        raise UsageError(
            f"an EDL has no timecode for {rate} frames a second",
            remedy="Choose a rate with --rate, such as 25 or 29.97",
        )
    timeline = _timeline(otio, cuts, rate)
    try:
        text: str = otio.adapters.write_to_string(timeline, "cmx_3600", rate=float(rate.value))
    except otio.exceptions.NoKnownAdapterForExtensionError as error:
        raise _missing("otio_cmx3600_adapter", error) from error
    except otio.exceptions.OTIOError as error:
        raise UsageError(f"the moments do not fit an EDL: {error}") from error
    title, _, events = text.partition("\n")
    mode = "DROP FRAME" if rate.drops else "NON-DROP FRAME"
    return f"{title}\nFCM: {mode}\n{events.rstrip()}\n".encode("ascii", "replace")


def is_edl(beginning: bytes) -> bool:
    """Whether a file that begins so was written by ``write_edl``."""
    return beginning.startswith(f"TITLE: {TITLE}\n".encode())


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
        zero = _first_frame(otio, cut, frames)
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


def _first_frame(otio: Any, cut: Cut, rate: float) -> int:
    """The number of the film's first frame by its own timecode."""
    if not cut.timecode:
        return 0
    try:
        return int(otio.opentime.from_timecode(cut.timecode, rate).value)
    except ValueError:
        # The timecode is of another rate, or damaged.
        return 0


def _otio() -> Any:
    try:
        import opentimelineio
    except ImportError as error:
        raise _missing("opentimelineio", error) from error
    return opentimelineio


def _missing(package: str, error: Exception) -> MissingExtraError:
    cause = error if isinstance(error, ImportError) else None
    return MissingExtraError.for_package(
        package, extra="editing", purpose="An editor's timeline", cause=cause
    )
