"""Moments in the formats of other programs, each read back by a library that is not ours."""

from __future__ import annotations

import csv
import io
import json
from fractions import Fraction
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

import av
import pytest
import srt
import webvtt
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record, decode_record
from vtloc_runtime.errors import UsageError, VideoError
from vtloc_runtime.handover.captions import cue_text, format_time
from vtloc_runtime.handover.cuts import plan_cuts
from vtloc_runtime.handover.edl import write_edl
from vtloc_runtime.handover.fcpxml import write_fcpxml
from vtloc_runtime.handover.formats import FORMATS, find_format, write_documents
from vtloc_runtime.handover.timecode import FrameRate, Timecode
from vtloc_runtime.handover.timelines import write_otio
from vtloc_runtime.system.text import plain
from vtloc_runtime.video.film_facts import FilmFacts

NTSC_FILM, NTSC, PAL = Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25)


def record(
    query: str = "a dog", *spans: tuple[float, float], video: str = "film.mp4", **more: Any
) -> Record:
    moments = tuple(FoundMoment(start=a, end=b, score=0.5) for a, b in spans)
    fields: dict[str, Any] = {"moments": moments, "duration": 600.0}
    return Record(id=f"{video} {query}", video=video, query=query, **{**fields, **more})


def facts(rate: Fraction = PAL, video: str = "film.mp4", **more: Any) -> dict[str, FilmFacts]:
    fields: dict[str, Any] = {"duration": 600.0, "width": 1920, "height": 1080, "sound": True}
    return {video: FilmFacts(video, rate, **{**fields, **more})}


def write(name: str, *records: Record) -> str:
    (content,) = write_documents(find_format(name), records).values()
    return content.decode()


hostile = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    [
        "=1+1", "+1", "-q", "@SUM(A1)", "\t=1", "\r\n=1", "a --> b", "1\n\n00:00:01,000 --> x",
        "<b>&amp;</b>", "NOTE x", "[CHAPTER]", "a=b;c#d\\e", "\\", "]]>", "a\u2028b", 'say "hi"',
        "{\\an8}", "STYLE\n::cue{}", "\ufeff", "", "\uff1d1", "\ufeff=1", "a, b;c\td",
        "long " * 2000,
        "* FROM CLIP NAME: x", "001  AX V C 00:00:00:00", "<![CDATA[x", "\u202eabc", "\x00", "'=1",
    ]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(hostile)
def test_json_lines_are_read_as_results(query: str) -> None:
    given_record = record(query, (1.0, 2.5))
    (line,) = write("jsonl", given_record).splitlines()
    assert decode_record(line.encode(), checked=True) == given_record


@settings(max_examples=80, deadline=None)
@given(hostile)
def test_a_table_has_a_row_a_moment_and_no_formula(query: str) -> None:
    text = write("csv", record(query, (1.0, 2.5), (3.25, 4.0)))
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert (first["rank"], first["start"], first["end_time"]) == ("1", "1.0", "00:00:02.500")
    assert (second["rank"], second["start"]) == ("2", "3.25")
    for row in (first, second):
        assert row["query"].removeprefix("'") == plain(query).removeprefix("'")
        for cell in (row["query"], row["id"], row["video"]):
            assert not cell.lstrip().startswith((*"=+-@\uff1d\uff0b\uff0d\uff20", "\t", "\r"))


def test_a_table_shows_what_was_not_found_and_what_failed() -> None:
    failed = record("a cat", moments=None, error=Failure(kind="video", what="=gone"))
    text = write("csv", record("a dog", presence=-0.25), failed)
    none, lost = csv.DictReader(io.StringIO(text, newline=""))
    assert (none["rank"], none["start"], none["presence"]) == ("", "", "-0.25")
    assert lost["error"] == "'=gone"


@settings(max_examples=80, deadline=None)
@given(hostile)
@example("a --> b")
def test_webvtt_is_read_back(query: str) -> None:
    text = write("vtt", record(query, (3723.456, 3730.0), (1.0, 2.5)), record("last", (4000, 4001)))
    first, second, third = webvtt.from_string(text).captions
    assert (first.start, first.end) == ("00:00:01.000", "00:00:02.500")
    assert (second.start, second.end) == ("01:02:03.456", "01:02:10.000")
    assert third.text == "last"
    assert "-->" not in first.raw_text
    # The library gives the text as it is displayed; its own markup is what we escaped.
    assert first.text == second.text


@settings(max_examples=80, deadline=None)
@given(hostile)
def test_subrip_is_read_back(query: str) -> None:
    text = write("srt", record(query, (3723.456, 3730.0), (1.0, 2.5)), record("last", (4000, 4001)))
    first, second, third = srt.parse(text)
    assert first.start.total_seconds() == 1.0
    assert second.end.total_seconds() == 3730.0
    assert third.content == "last"
    assert first.content == second.content
    assert not set("<>{}\n") & set(first.content)


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_ffmpeg_reads_the_chapters(query: str) -> None:
    text = write("ffmetadata", record(query, (3723.456, 3730.0), (1.0, 2.5)), record("=", (4, 5)))
    with av.open(io.BytesIO(text.encode()), format="ffmetadata") as container:
        chapters = container.chapters()
    ticks = [Fraction(one["time_base"] or 1) for one in chapters]
    times = [
        (one["start"] * tick, one["end"] * tick) for one, tick in zip(chapters, ticks, strict=True)
    ]
    assert times == [(1, Fraction(5, 2)), (4, 5), (Fraction(3723456, 1000), 3730)]
    assert chapters[1]["metadata"] == {"title": "="}
    assert chapters[0]["metadata"].get("title", "").strip() == cue_text(query).strip()


@settings(max_examples=60, deadline=None)
@given(hostile)
def test_losslesscut_projects_are_json(query: str) -> None:
    project = json.loads(write("llc", record(query, (5.0, 6.0), (1.0, 2.5))))
    assert project["version"] == 1
    assert project["mediaFileName"] == "film.mp4"
    first, second = project["cutSegments"]
    assert (first["start"], first["end"], first["name"]) == (1.0, 2.5, cue_text(query))
    assert second["start"] == 5.0


@pytest.mark.parametrize("name", ["vtt", "srt", "ffmetadata", "llc"])
def test_formats_of_one_film_give_a_file_a_film(name: str) -> None:
    records = [record(video="a/film.mp4"), record(video="b/FILM.mp4"), record(video="c.mp4")]
    form = FORMATS[name]
    names = [f"{film}{form.suffix}" for film in ("film.mp4", "FILM.mp4-2", "c.mp4")]
    assert list(write_documents(form, records)) == names


def test_other_formats_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'xlsx' is unknown"):
        find_format("xlsx")


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "srt"])
def test_a_file_is_known_as_our_own_by_its_beginning(name: str) -> None:
    form = FORMATS[name]
    records = [record("a dog", (1.0, 2.0))]
    for content in write_documents(form, records, facts=facts()).values():
        assert form.ours(content[: 2**16])
    assert not form.ours(b"WEBVTT\n\nmine")
    assert not form.ours(b"{}")


# ---- frames ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "rate"),
    [("23.976", NTSC_FILM), ("23.98", NTSC_FILM), ("29.97", NTSC), ("25", PAL),
     ("24000/1001", NTSC_FILM), ("59.94", Fraction(60000, 1001)), ("12.5", Fraction(25, 2)),
     (29.970029, NTSC)],
)  # fmt: skip
def test_rates_are_exact(said: str | float, rate: Fraction) -> None:
    assert FrameRate.parse(said).value == rate


@pytest.mark.parametrize("said", ["0", "-25", "1e9", "fast", "1/0", "nan", "inf"])
def test_what_is_no_rate_is_refused(said: str) -> None:
    with pytest.raises(UsageError):
        FrameRate.parse(said)


@given(st.sampled_from([NTSC_FILM, NTSC, PAL, Fraction(60000, 1001), Fraction(120)]),
       st.integers(0, 24 * 3600 * 60))  # fmt: skip
def test_a_time_in_milliseconds_is_its_frame(rate: Fraction, frame: int) -> None:
    # Records hold the time of a frame, rounded to milliseconds.
    seconds = round(float(frame / rate), 3)
    assert FrameRate(rate).frames(seconds) == frame


def cut_records(rate: Fraction, frames: list[tuple[int, int]], query: str) -> Record:
    spans = [(round(float(a / rate), 3), round(float(b / rate), 3)) for a, b in frames]
    return record(query, *spans)


FRAMES = [(0, 1), (1799, 1801), (17981, 17985), (5000, 5500)]
"""Over the labels that drop-frame timecode leaves out: 1800, 1801, and 17982 where it does not."""


@pytest.mark.parametrize("rate", [NTSC_FILM, NTSC, PAL, Fraction(30), Fraction(60000, 1001)])
def test_edit_lists_keep_every_frame(rate: Fraction) -> None:
    otio = pytest.importorskip("opentimelineio")
    cuts, shared = plan_cuts([cut_records(rate, FRAMES, "a dog")], facts(rate), None)
    text = write_edl(cuts, shared).decode()
    drops = rate in (NTSC, Fraction(60000, 1001))
    assert f"FCM: {'DROP FRAME' if drops else 'NON-DROP FRAME'}\n" in text
    timeline = otio.adapters.read_from_string(text, "cmx_3600", rate=float(rate))
    found = [clip.source_range for clip in timeline.find_clips()]
    assert [(r.start_time.value, r.end_time_exclusive().value) for r in found] == FRAMES


def test_an_edit_list_is_this() -> None:
    cuts, shared = plan_cuts(
        [cut_records(NTSC, [(1799, 1801)], "a dog")], facts(NTSC, timecode="01:00:00;00"), None
    )
    head, mode, _, event, *comments = write_edl(cuts, shared).decode().splitlines()
    assert head == "TITLE: vtloc moments, 29.97 drop-frame"
    assert mode == "FCM: DROP FRAME"
    # Frame 1800 of a minute has the label ;02.
    assert event.split() == [
        "001", "film", "V", "C", "01:00:59;29", "01:01:00;03", "00:00:00;00", "00:00:00;02",
    ]  # fmt: skip
    assert comments == [
        "* FROM CLIP NAME:  film.mp4",
        f"* FROM CLIP: {cuts[0].address}",
        "* COMMENT: a dog",
    ]


@pytest.mark.parametrize(
    ("rate", "timecode", "mode", "label", "format_"),
    [
        (NTSC, "01:00:00;00", "DROP FRAME", "01:00:59;29", "DF"),
        (NTSC, "01:00:00:00", "NON-DROP FRAME", "01:00:59:29", "NDF"),
        (NTSC, "", "DROP FRAME", "00:00:59;29", "DF"),
        (NTSC, "99:99:99:99", "DROP FRAME", "00:00:59;29", "DF"),
        (Fraction(60000, 1001), "01:00:00:00", "NON-DROP FRAME", "01:00:29:59", "NDF"),
        (Fraction(60000, 1001), "", "DROP FRAME", "00:00:29;59", "DF"),
        (PAL, "01:00:00:00", "NON-DROP FRAME", "01:01:11:24", "NDF"),
        (PAL, "01:00:00;00", "NON-DROP FRAME", "00:01:11:24", "NDF"),
        (NTSC_FILM, "01:00:00:00", "NON-DROP FRAME", "01:01:14:23", "NDF"),
    ],
)
def test_the_films_own_timecode_decides(
    rate: Fraction, timecode: str, mode: str, label: str, format_: str
) -> None:
    known = facts(rate, timecode=timecode)
    cuts, shared = plan_cuts([cut_records(rate, [(1799, 1801)], "a dog")], known, None)
    text = write_edl(cuts, shared).decode()
    assert f"\nFCM: {mode}\n" in text
    assert f" {label} " in text
    root = ET.fromstring(write_fcpxml(cuts, shared))
    formats = [one.get("tcFormat") for one in root.iter() if one.get("tcFormat")]
    assert formats == [format_, format_]


def test_films_of_both_kinds_of_timecode_share_no_edit_list() -> None:
    records = [record("a dog", (1.0, 2.0)), record("a dog", (1.0, 2.0), video="other.mp4")]
    kinds = {
        **facts(NTSC, timecode="01:00:00:00"),
        **facts(NTSC, "other.mp4", timecode="00:00:00;00"),
    }
    cuts, shared = plan_cuts(records, kinds, None)
    with pytest.raises(UsageError, match="drop-frame timecode"):
        write_edl(cuts, shared)
    clips = ET.fromstring(write_fcpxml(cuts, shared)).findall(".//asset-clip")
    assert [clip.get("tcFormat") for clip in clips] == ["NDF", "DF"]
    # Final Cut finds the media by its own timecode, here frame 108,000.
    assert Fraction((clips[0].get("start") or "").removesuffix("s")) == 108_030 / NTSC
    # A film without timecode goes with the others.
    kinds |= facts(NTSC, "other.mp4")
    cuts, shared = plan_cuts(records, kinds, None)
    assert b"FCM: NON-DROP FRAME" in write_edl(cuts, shared)


@given(
    st.sampled_from([(NTSC, True), (NTSC, False), (Fraction(60000, 1001), True), (PAL, False)]),
    st.integers(0, 24 * 3600 * 25 - 1),
)
def test_labels_are_those_of_opentimelineio(kind: tuple[Fraction, bool], frame: int) -> None:
    time = pytest.importorskip("opentimelineio").opentime
    rate, drop = kind
    timecode = Timecode(FrameRate(rate), drop)
    label = timecode.label(frame)
    assert label == time.to_timecode(time.RationalTime(frame, float(rate)), float(rate), drop)
    assert Timecode.of_label(label, timecode.rate) == (timecode, frame)


def test_reels_tell_films_apart() -> None:
    names = [
        "a long name 1.mp4",
        "a long name 2.mp4",
        "\u732b.mp4",
        "b/\u72ac.mp4",
        "x" * 300 + ".mp4",
    ]
    known = {name: one for name in names for one in facts(PAL, name).values()}
    cuts, shared = plan_cuts([record("a", (1, 2), video=name) for name in names], known, None)
    lines = write_edl(cuts, shared).decode("ascii").splitlines()
    assert [line.split()[1] for line in lines if " V " in line] == [
        "alongnam", "alongna2", "AX", "AX2", "xxxxxxxx",
    ]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(hostile, st.sampled_from([NTSC_FILM, NTSC, PAL]))
def test_timelines_are_read_back(query: str, rate: Fraction) -> None:
    otio = pytest.importorskip("opentimelineio")
    cuts, shared = plan_cuts([cut_records(rate, FRAMES, query)], facts(rate), None)
    timeline = otio.adapters.read_from_string(write_otio(cuts, shared).decode(), "otio_json")
    clips = list(timeline.find_clips())
    ranges = [clip.source_range for clip in clips]
    assert [(r.start_time.value, r.end_time_exclusive().value) for r in ranges] == FRAMES
    assert {r.start_time.rate for r in ranges} == {float(rate)}
    assert clips[0].metadata["vtloc"]["query"] == cue_text(query)
    text = write_edl(cuts, shared).decode("ascii")
    edl = otio.adapters.read_from_string(text, "cmx_3600", rate=float(rate))
    assert len(list(edl.find_clips())) == len(FRAMES)
    assert len(text.splitlines()) == 2 + 5 * len(FRAMES)


@settings(max_examples=40, deadline=None)
@given(hostile, st.sampled_from([NTSC_FILM, NTSC, PAL]))
def test_final_cut_projects_hold_whole_frames(query: str, rate: Fraction) -> None:
    cuts, shared = plan_cuts([cut_records(rate, FRAMES, query)], facts(rate), None)
    root = ET.fromstring(write_fcpxml(cuts, shared))

    def frames(text: str | None) -> Fraction:
        assert text is not None
        return Fraction(text.removesuffix("s")) * rate

    clips = root.findall(".//spine/asset-clip")
    found = [(frames(one.get("start")), frames(one.get("duration"))) for one in clips]
    assert frames(root.findall(".//asset")[0].get("start")) == 0
    assert found == [(Fraction(start), Fraction(end - start)) for start, end in FRAMES]
    assert frames(clips[1].get("offset")) == 1
    assert clips[0].get("name") == cue_text(query)
    sequence = root.find(".//sequence")
    assert sequence is not None
    assert sequence.get("tcFormat") == ("DF" if rate == NTSC else "NDF")
    assert root.findall(".//asset")[0].get("hasAudio") == "1"


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1))
def test_films_are_addressed_by_their_path(name: str) -> None:
    path = f"/films/{name}"
    cuts, shared = plan_cuts([record("a dog", (1.0, 2.0), video=path)], facts(PAL, path), None)
    root = ET.fromstring(write_fcpxml(cuts, shared))
    address = urlsplit(root.find(".//media-rep").get("src"))  # type: ignore[union-attr]
    assert address.scheme == "file"
    if name not in (".", ".."):
        assert unquote(address.path) == path


def test_films_of_different_rates_need_one_to_be_chosen() -> None:
    records = [record("a dog", (1.0, 2.0)), record("a dog", (1.0, 2.0), video="other.mp4")]
    known = {**facts(PAL), **facts(NTSC, "other.mp4")}
    with pytest.raises(UsageError, match=r"different frame rates \(25, 29.97\)"):
        plan_cuts(records, known, None)
    cuts, shared = plan_cuts(records, known, FrameRate.parse("50"))
    assert shared.value == 50
    assert [(cut.start, cut.end) for cut in cuts] == [(50, 100), (50, 100)]


def test_a_film_that_cannot_be_read_has_no_frame_rate() -> None:
    with pytest.raises(VideoError, match="frame rate is not known"):
        plan_cuts([record("a dog", (1.0, 2.0))], {}, None)


def test_a_rate_without_timecode_is_refused_for_an_edit_list() -> None:
    cuts, shared = plan_cuts([record("a dog", (1.0, 2.0))], facts(Fraction(8)), None)
    with pytest.raises(UsageError, match="no timecode for 8 frames"):
        write_edl(cuts, shared)


def test_times_are_written_to_the_millisecond() -> None:
    assert format_time(3723.4567) == "01:02:03.457"
    assert format_time(59.9996, ",") == "00:01:00,000"
