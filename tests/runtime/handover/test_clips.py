"""Clips: cut in the sandbox, named by a template, and never in another file's place."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtloc_runtime.batch.results.records import FoundMoment, Record
from vtloc_runtime.errors import OutputError, UsageError, VideoError
from vtloc_runtime.handover.clips import cut_clips, plan_clips
from vtloc_runtime.handover.file_names import CLIP_FIELDS, check_template, safe_name, unique_names
from vtloc_runtime.handover.folder import LIST_NAME, OutputFolder
from vtloc_runtime.video import cutting
from vtloc_runtime.video.cutting import Clip, CutOptions
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess


def numbered_film(path: Path, *, rate: Fraction = Fraction(30000, 1001), count: int = 90) -> Path:
    """A film whose frames say by their brightness which they are, with a keyframe each 30."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 30
        stream.bit_rate = 8_000_000
        stream.options = {"sc_threshold": "1000000000"}
        sound: Any = container.add_stream("aac", rate=48000)
        sound.layout = "mono"
        for number in range(count):
            picture = np.full((64, 64, 3), 2 * number + 20, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        tone = np.zeros((1, int(48000 * count / rate)), dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return numbered_film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="module")
def decoder() -> Any:
    with DecoderProcess() as process:
        yield process


def numbers(content: bytes) -> list[int]:
    """Which frames a clip shows."""
    with av.open(io.BytesIO(content), "r") as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [round((float(picture.mean()) - 20) / 2) for picture in pictures]


def test_a_copied_clip_begins_at_the_keyframe_before(film: Path, decoder: DecoderProcess) -> None:
    # Frames 40 to 49, of 30000/1001 a second.
    clip = decoder.cut(film, CutOptions(1.335, 1.668))
    found = numbers(clip.content)
    assert len(found) == 20
    assert np.abs(np.subtract(found, range(30, 50))).max() <= 1
    assert clip.start == pytest.approx(30 * 1001 / 30000, abs=1e-3)
    assert clip.end == pytest.approx(50 * 1001 / 30000, abs=1e-3)


def test_an_exact_clip_has_those_frames_and_no_others(film: Path, decoder: DecoderProcess) -> None:
    for first, after in ((40, 50), (0, 1), (29, 31), (60, 90)):
        begin, end = (round(frame * 1001 / 30000, 3) for frame in (first, after))
        clip = decoder.cut(film, CutOptions(begin, end, exact=True))
        found = numbers(clip.content)
        assert len(found) == after - first
        assert np.abs(np.subtract(found, range(first, after))).max() <= 1
        with av.open(io.BytesIO(clip.content), "r") as container:
            assert [stream.type for stream in container.streams] == ["video", "audio"]
            assert next(container.decode(video=0)).pts == 0


def test_frames_are_those_that_the_reader_shows(tmp_path: Path, decoder: DecoderProcess) -> None:
    film = numbered_film(tmp_path / "film.mkv", rate=Fraction(24000, 1001))
    clip = decoder.cut(film, CutOptions(2.0, 2.5, exact=True, muxer="matroska"))
    # The clock of moments: frame 48 comes on screen at 2.002 s, frame 59 at 2.461 s.
    assert len(numbers(clip.content)) == 12


@pytest.mark.parametrize("exact", [False, True])
def test_a_clip_shows_the_colours_of_the_film(
    tmp_path: Path, decoder: DecoderProcess, exact: bool
) -> None:
    from vtloc_runtime.video import VideoOptions, open_video

    path = tmp_path / "full-range.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuvj420p"
        picture = np.zeros((64, 64, 3), dtype=np.uint8)
        picture[:32], picture[32:] = (250, 20, 40), (20, 60, 245)
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    clip = decoder.cut(path, CutOptions(0.0, 0.5, exact=exact, muxer="matroska"))

    def shown(source: Any) -> Any:
        with open_video(source, VideoOptions(instants=(0.0,))) as reader:
            return next(iter(reader)).image.astype(float)

    assert np.abs(shown(io.BytesIO(clip.content)) - shown(path)).mean() < 4


def test_what_lies_behind_the_film_is_an_error(film: Path, decoder: DecoderProcess) -> None:
    with pytest.raises(VideoError, match="no picture in that moment"):
        decoder.cut(film, CutOptions(50.0, 60.0, exact=True))


def test_what_is_no_film_is_an_error(tmp_path: Path, decoder: DecoderProcess) -> None:
    (tmp_path / "words.mp4").write_text("words " * 100)
    for options in (CutOptions(0, 1), CutOptions(0, 1, exact=True)):
        with pytest.raises(VideoError):
            decoder.cut(tmp_path / "words.mp4", options)
    with pytest.raises(VideoError):
        decoder.describe(tmp_path / "words.mp4")
    with pytest.raises(VideoError, match="cannot be opened"):
        decoder.describe(tmp_path / "gone.mp4")


def test_a_codec_that_the_container_refuses_is_named(
    tmp_path: Path, film: Path, decoder: DecoderProcess
) -> None:
    with pytest.raises(VideoError, match=r"cannot be written as webm.*--exact-clips"):
        decoder.cut(film, CutOptions(0, 1, muxer="webm"))


def test_a_film_is_described_without_decoding_it(film: Path, decoder: DecoderProcess) -> None:
    facts = decoder.describe(film)
    assert facts.rate == Fraction(30000, 1001)
    assert facts.duration == pytest.approx(3.003, abs=0.01)
    assert (facts.width, facts.height, facts.sound) == (64, 64, True)


def test_this_process_cuts_nothing(
    film: Path, decoder: DecoderProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "cut_clip", lambda *_: pytest.fail("cut in the main process"))
    assert decoder.cut(film, CutOptions(0, 1)).content


def test_a_film_longer_than_memory_may_hold_is_refused(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtloc_runtime.video import VideoOptions
    from vtloc_runtime.video.demuxing.source import Source

    monkeypatch.setattr(cutting, "LARGEST_CLIP", 1000)
    for exact in (False, True):
        with pytest.raises(VideoError, match="more than 1000 bytes"):
            cutting.cut_clip(Source(film, VideoOptions()), CutOptions(0, 3, exact=exact))


# ---- names and places --------------------------------------------------------------------------


def record(video: str, query: str = "a dog", count: int = 1) -> Record:
    moments = tuple(FoundMoment(start=n / 2, end=n / 2 + 0.5, score=0.5) for n in range(count))
    return Record(id=f"{video}{query}", video=video, query=query, moments=moments, duration=3.0)


def test_clips_are_named_by_film_sentence_and_rank() -> None:
    jobs = plan_clips([record("a/my film.mp4", "a dog", 2), record("b.avi")])
    assert [job.name for job in jobs] == [
        "my-film-a-dog-1.mp4",
        "my-film-a-dog-2.mp4",
        "b-a-dog-1.mkv",
    ]
    assert [job.name for job in plan_clips([record("b.avi")], exact=True)] == ["b-a-dog-1.mp4"]


def test_a_template_names_them_otherwise_and_equal_names_are_numbered() -> None:
    jobs = plan_clips([record("a.mp4", count=3)], template="{start}_{film}")
    assert [job.name for job in jobs] == ["0.000_a.mp4", "0.500_a.mp4", "1.000_a.mp4"]
    jobs = plan_clips([record("a.mp4", count=3)], template="clip")
    assert [job.name for job in jobs] == ["clip.mp4", "clip-2.mp4", "clip-3.mp4"]


@pytest.mark.parametrize("template", ["{movie}", "{", "{film.__class__}", "{0}", "{}"])
def test_a_template_that_cannot_be_filled_is_refused(template: str) -> None:
    with pytest.raises(UsageError):
        check_template(template, CLIP_FIELDS)


@given(st.text())
def test_a_name_leads_nowhere_else(text: str) -> None:
    name = safe_name(text)
    assert name not in ("", ".", "..")
    assert not set('/\\\0:*?"<>|\n') & set(name)
    assert len(name.encode()) <= 121
    assert not name.startswith((".", "-"))


@given(st.lists(st.text(max_size=5)))
def test_names_differ_even_where_capitals_do_not_count(texts: list[str]) -> None:
    names = [name.casefold() for name in unique_names(texts)]
    assert len(set(names)) == len(texts)


def test_what_fails_costs_its_own_clip(film: Path, tmp_path: Path, decoder: DecoderProcess) -> None:
    jobs = plan_clips([record("gone.mp4"), record(str(film))])
    lost, found = cut_clips(jobs, OutputFolder(tmp_path / "clips"), decoder)
    assert isinstance(lost.error, VideoError)
    assert found.path is not None
    assert found.path.stat().st_size > 0


def test_only_files_that_vtloc_wrote_are_replaced(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "clips")
    folder.write("a.mp4", b"one")
    again = OutputFolder(tmp_path / "clips")
    again.write("a.mp4", b"two")
    mine = tmp_path / "clips" / "mine.mp4"
    mine.write_bytes(b"mine")
    (tmp_path / "clips" / "a.mp4").write_bytes(b"edited")
    for name in ("mine.mp4", "a.mp4"):
        with pytest.raises(OutputError, match="did not write"):
            OutputFolder(tmp_path / "clips").write(name, b"three")
    assert mine.read_bytes() == b"mine"
    assert (tmp_path / "clips" / "a.mp4").read_bytes() == b"edited"


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / "clips" / "film.mp4"
    folder = OutputFolder(tmp_path / "clips", [("a film", str(source))])
    folder.path.mkdir()
    source.write_bytes(b"")
    with pytest.raises(OutputError, match="which is an input"):
        folder.write("film.mp4", b"clip")


@pytest.mark.parametrize("name", ["../a", "a/b", "", ".", "..", LIST_NAME])
def test_a_name_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        OutputFolder(tmp_path / "clips").write(name, b"x")


def test_links_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="a link"):
        OutputFolder(tmp_path / "clips").write("a.mp4", b"x")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"vtloc_files": {"a": 1}}', b"\xff"])
def test_a_damaged_list_is_one_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LIST_NAME).write_bytes(content)
    with pytest.raises(OutputError, match="list of written files is damaged"):
        OutputFolder(tmp_path)


def test_a_clip_knows_its_times() -> None:
    assert Clip(b"x", 1.0, 2.0).end == 2.0
