"""The formats in which moments are handed over, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from vtloc_runtime.batch.results.results_beginning import holds_results
from vtloc_runtime.errors import UsageError
from vtloc_runtime.handover import captions, chapters, edl, fcpxml, tables, timelines
from vtloc_runtime.handover.file_names import unique_names

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Record
    from vtloc_runtime.handover.cuts import Cut
    from vtloc_runtime.handover.timecode import FrameRate
    from vtloc_runtime.video.film_facts import FilmFacts

WriteRecords = Callable[[Sequence["Record"]], bytes]
WriteCuts = Callable[[Sequence["Cut"], "FrameRate"], bytes]


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes:
        suffix: The ending of its files.
        of_records: Writes records; None for an editor's format.
        of_cuts: Writes the cuts of an editor's timeline; None for the others.
        one_film: Whether one file is about one film.
        ours: Whether a file that begins with these bytes was written by vtloc.
    """

    suffix: str
    ours: Callable[[bytes], bool]
    of_records: WriteRecords | None = None
    of_cuts: WriteCuts | None = None
    one_film: bool = False


FORMATS: Mapping[str, Format] = {
    "jsonl": Format(".jsonl", holds_results, of_records=tables.write_json_lines),
    "csv": Format(".csv", tables.is_table, of_records=tables.write_table),
    "vtt": Format(".vtt", captions.is_webvtt, of_records=captions.write_webvtt, one_film=True),
    "srt": Format(".srt", captions.is_subrip, of_records=captions.write_subrip, one_film=True),
    "ffmetadata": Format(
        ".ffmeta", chapters.is_ffmetadata, of_records=chapters.write_ffmetadata, one_film=True
    ),
    "llc": Format(".llc", chapters.is_losslesscut, of_records=chapters.write_losslesscut,
                  one_film=True),
    "edl": Format(".edl", edl.is_edl, of_cuts=edl.write_edl),
    "otio": Format(".otio", timelines.is_otio, of_cuts=timelines.write_otio),
    "fcpxml": Format(".fcpxml", fcpxml.is_fcpxml, of_cuts=fcpxml.write_fcpxml),
}  # fmt: skip


def find_format(name: str) -> Format:
    """A format by its name.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return FORMATS[name.lower()]
    except KeyError:
        raise UsageError(
            f"the format {name!r} is unknown", remedy=f"Choose {', '.join(FORMATS)}"
        ) from None


def write_documents(
    form: Format,
    records: Sequence[Record],
    *,
    facts: Mapping[str, FilmFacts] | None = None,
    rate: FrameRate | None = None,
) -> dict[str, bytes]:
    """Write records in a format: one document, or one for each film.

    Args:
        form: The format.
        records: The records, in their order.
        facts: What editors' formats need to know of each film, by its name in the records.
        rate: The frame rate of an editor's timeline; None takes the films' own.

    Returns:
        The documents by file name.

    Raises:
        UsageError: The films do not share a frame rate, or the format has no timecode for it.
        VideoError: A film of an editor's format is not known.
        MissingExtraError: The format's package is not installed.
    """
    if form.of_cuts is not None:
        from vtloc_runtime.handover.cuts import plan_cuts

        cuts, shared = plan_cuts(records, facts or {}, rate)
        return {f"moments{form.suffix}": form.of_cuts(cuts, shared)}
    if form.of_records is None:
        raise AssertionError("a format writes records or cuts")
    if not form.one_film:
        return {f"moments{form.suffix}": form.of_records(records)}
    films = group_by_film(records)
    names = unique_names(PurePath(film).name or "film" for film in films)
    return {
        f"{name}{form.suffix}": form.of_records(found)
        for name, found in zip(names, films.values(), strict=True)
    }


def group_by_film(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records by the film that they are about, films in the order of their first record."""
    films: dict[str, list[Record]] = {}
    for record in records:
        films.setdefault(record.video, []).append(record)
    return films
