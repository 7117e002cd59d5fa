"""Decoding in a process of its own: the same frames, and no harm from bad files."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.colours import SIZE, write_colour_video
from tests.support.crashing_decoder import crash_on
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.errors import BackendError, DecoderLostError, UsageError, VideoError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video import FrameSequence, Limits, VideoOptions
from vtloc_runtime.video.isolation import launch
from vtloc_runtime.video.isolation.chunks import FrameChunk, ReadingEnd, read_here
from vtloc_runtime.video.isolation.decoder_process import DecoderLimits, DecoderProcess

OPTIONS = VideoOptions(preprocessing=Preprocessing(size=SIZE))


@pytest.fixture
def decoder() -> Any:
    with DecoderProcess(DecoderLimits(timeout=60)) as process:
        yield process


def process_id(decoder: DecoderProcess) -> int:
    assert decoder._process is not None
    return decoder._process.pid


def end_stopped(process: int, number: int) -> None:
    """Have a stopped process end by a signal: all but SIGKILL wait until it goes on."""
    os.kill(process, number)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def end_while_it_reads(decoder: DecoderProcess, number: int) -> None:
    """Have it wait in what it reads next, and end there by a signal."""
    decoder.start()
    os.kill(process_id(decoder), signal.SIGSTOP)
    threading.Timer(0.3, end_stopped, (process_id(decoder), number)).start()


def pictures(parts: Any) -> Any:
    """Every frame's picture and time of a reading."""
    chunks = [part for part in parts if isinstance(part, FrameChunk)]
    images = np.concatenate([chunk.images[chunk.index] for chunk in chunks])
    return images, np.concatenate([chunk.times for chunk in chunks]).tolist()


def test_it_gives_the_frames_that_reading_here_gives(
    decoder: DecoderProcess, colour_video: Path
) -> None:
    for size in (1, 5, 64):
        here = list(read_here(str(colour_video), OPTIONS, size))
        there = list(decoder.read(str(colour_video), OPTIONS, size))
        assert len(here) == len(there)
        for one, other in zip(here, there, strict=True):
            if isinstance(one, FrameChunk):
                assert isinstance(other, FrameChunk)
                assert np.array_equal(one.images, other.images)
                assert np.array_equal(one.times, other.times)
                assert np.array_equal(one.index, other.index)
            else:
                assert one == other


def test_a_video_that_cannot_be_read_says_what_it_would_say_here(
    decoder: DecoderProcess, tmp_path: Path
) -> None:
    (tmp_path / "words.mp4").write_text("words")
    before = None
    for name in ("words.mp4", "gone.mp4"):
        source = str(tmp_path / name)
        with pytest.raises(VideoError) as there:
            list(decoder.read(source, OPTIONS, 8))
        with pytest.raises(VideoError) as here:
            list(read_here(source, OPTIONS, 8))
        assert str(there.value) == str(here.value)
        before = before or process_id(decoder)
    assert process_id(decoder) == before


def test_a_crash_is_an_error_and_the_next_video_is_read(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    end_while_it_reads(decoder, signal.SIGSEGV)
    with pytest.raises(VideoError, match=r"crashed the decoder \(ended by SIGSEGV\)") as caught:
        list(decoder.read(str(long), OPTIONS, 1))
    assert caught.value.where == str(long)
    assert isinstance(list(decoder.read(str(colour_video), OPTIONS, 8))[-1], ReadingEnd)


def test_a_codec_that_faults_costs_its_own_video(
    tmp_path: Path, colour_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal = write_colour_video(tmp_path / "fatal.mp4", [("red", 9)])
    crash_on(fatal, monkeypatch)
    with DecoderProcess() as decoder:
        for _ in range(2):
            with pytest.raises(
                VideoError, match=r"crashed the decoder .ended by SIGSEGV"
            ) as caught:
                list(decoder.read(str(fatal), OPTIONS, 8))
            assert not isinstance(caught.value, DecoderLostError)
            assert list(decoder.read(str(colour_video), OPTIONS, 8))


def test_a_process_that_dies_late_is_not_the_next_videos_fault(
    decoder: DecoderProcess, colour_video: Path
) -> None:
    for _ in range(4):
        list(decoder.read(str(colour_video), OPTIONS, 8))
        # Often it is still there when the next video looks.
        os.kill(process_id(decoder), signal.SIGSEGV)
        assert list(decoder.read(str(colour_video), OPTIONS, 8))


def test_a_decoder_lost_between_videos_is_replaced(
    decoder: DecoderProcess, colour_video: Path
) -> None:
    list(decoder.read(str(colour_video), OPTIONS, 8))
    lost = process_id(decoder)
    os.kill(lost, signal.SIGKILL)
    assert decoder._process is not None
    decoder._process.wait()
    assert list(decoder.read(str(colour_video), OPTIONS, 8))
    assert process_id(decoder) != lost


def test_a_pipe_is_refused_and_never_waited_for(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    os.mkfifo(tmp_path / "endless.mp4")
    with pytest.raises(VideoError, match="pipe or a device"):
        list(decoder.read(str(tmp_path / "endless.mp4"), OPTIONS, 8))
    assert list(decoder.read(str(colour_video), OPTIONS, 8))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (".", "folder, not a video"),
        ("\ud800.mp4", "cannot be opened"),
        ("a\0b", "not a file's name"),
    ],
)
def test_what_is_no_file_is_refused_and_leaves_nothing_open(
    decoder: DecoderProcess, name: str, fault: str, colour_video: Path
) -> None:
    assert list(decoder.read(str(colour_video), OPTIONS, 8))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(VideoError, match=fault):
        list(decoder.read(name, OPTIONS, 8))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_stopped_process_is_given_up(decoder: DecoderProcess, colour_video: Path) -> None:
    list(decoder.read(str(colour_video), OPTIONS, 8))
    decoder._limits = DecoderLimits(timeout=0.3)
    os.kill(process_id(decoder), signal.SIGSTOP)
    with pytest.raises(VideoError, match=r"gave no frame for 0\.3 s") as caught:
        list(decoder.read(str(colour_video), OPTIONS, 8))
    assert "--decoder-timeout" in str(caught.value)


def test_a_video_that_needs_too_much_memory_is_refused(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    huge = write_colour_video(tmp_path / "huge.mp4", [("red", 1), ("blue", 1)], size=2048, rate=2)
    list(decoder.read(str(colour_video), OPTIONS, 8))
    status = Path(f"/proc/{process_id(decoder)}/status").read_text()
    enough = 1024 * int(status.split("VmPeak:")[1].split()[0]) + 8 * 2**20
    (tmp_path / "words.mp4").write_text("words")
    with DecoderProcess(DecoderLimits(memory=enough, timeout=60)) as limited:
        assert list(limited.read(str(colour_video), OPTIONS, 8))
        with pytest.raises(VideoError) as caught:
            list(limited.read(str(huge), OPTIONS, 8))
        assert "--decoder-memory" in str(caught.value)
        # Memory that one video took does not count for the next.
        with pytest.raises(VideoError, match=r"is not a video in a format"):
            list(limited.read(str(tmp_path / "words.mp4"), OPTIONS, 8))
        assert list(limited.read(str(colour_video), OPTIONS, 8))
    assert list(decoder.read(str(huge), OPTIONS, 8))


def test_a_reading_that_is_given_up_leaves_nothing_behind(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    reading = decoder.read(str(long), OPTIONS, 1)
    next(reading)
    reading.close()
    chunks = list(decoder.read(str(colour_video), OPTIONS, 64))
    assert isinstance(chunks[0], FrameChunk)
    assert len(chunks[0].times) == 12


def test_closing_ends_a_reading_in_another_thread(tmp_path: Path) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    decoder = DecoderProcess()
    decoder.start()
    os.kill(process_id(decoder), signal.SIGSTOP)
    failures: list[VideoError] = []

    def read() -> None:
        try:
            list(decoder.read(str(long), OPTIONS, 1))
        except VideoError as error:
            failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    decoder.close()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert "stopped" in str(failures[0])
    with pytest.raises(VideoError, match="stopped"):
        list(decoder.read(str(long), OPTIONS, 1))


def test_a_second_reading_is_refused_at_once_and_disturbs_nothing(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 30), ("blue", 30)])
    expected = pictures(read_here(str(long), OPTIONS, 4))
    reading = decoder.read(str(long), OPTIONS, 4)
    parts = [next(reading)]
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(UsageError, match="busy"):
            list(decoder.read(str(colour_video), OPTIONS, 4))
        assert time.monotonic() - began < 10
    parts += list(reading)
    found = pictures(parts)
    assert np.array_equal(found[0], expected[0])
    assert found[1] == expected[1]
    assert list(decoder.read(str(colour_video), OPTIONS, 4))


def test_threads_that_share_one_get_their_own_video_or_none(
    decoder: DecoderProcess, tmp_path: Path
) -> None:
    films = [
        write_colour_video(tmp_path / f"{colour}.mp4", [(colour, 4)]) for colour in ("red", "blue")
    ]
    expected = [pictures(read_here(str(film), OPTIONS, 2))[0] for film in films]
    outcomes: list[bool | None] = []

    def read(which: int) -> None:
        for _ in range(8):
            try:
                found = pictures(decoder.read(str(films[which]), OPTIONS, 2))[0]
            except UsageError:
                outcomes.append(None)
            else:
                outcomes.append(np.array_equal(found, expected[which]))

    threads = [threading.Thread(target=read, args=(number % 2,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(outcomes) == 32
    assert False not in outcomes
    assert True in outcomes


def test_a_request_that_timed_out_does_not_answer_the_next(
    colour_bundle: Path, tmp_path: Path, colour_video: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 300)])
    slow = threading.Event()

    async def ask(localizer: Localizer) -> None:
        with DecoderProcess() as decoder:

            def read(source: Any, options: VideoOptions, size: int) -> Any:
                for part in decoder.read(source, options, size):
                    slow.wait(0.2)
                    yield part

            encode = partial(localizer.encode_video, read=read)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(encode, str(long)), 0.3)
            with pytest.raises(UsageError, match="busy"):
                await asyncio.to_thread(encode, str(colour_video))
            decoder.close()
            slow.set()
        with DecoderProcess() as decoder:
            video = await asyncio.to_thread(
                localizer.encode_video, str(colour_video), read=decoder.read
            )
        alone = localizer.encode_video(str(colour_video))
        assert np.array_equal(video.features, alone.features)
        assert np.array_equal(video.times, alone.times)

    with Localizer.open(colour_bundle, threads=1, batch=2) as localizer:
        asyncio.run(ask(localizer))


def test_encoding_may_take_so_long_and_the_next_video_is_read(
    colour_bundle: Path, tmp_path: Path, colour_video: Path
) -> None:
    with (
        Localizer.open(colour_bundle, threads=1) as localizer,
        DecoderProcess() as decoder,
    ):
        alone = localizer.encode_video(str(colour_video))
        decoder.start()
        os.kill(process_id(decoder), signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(VideoError, match=r"takes more than 0\.5 s to read"):
            localizer.encode_video(str(colour_video), timeout=0.5, read=decoder.read)
        assert time.monotonic() - began < 5
        for read in (decoder.read, read_here):
            video = localizer.encode_video(str(colour_video), timeout=60, read=read)
            assert np.array_equal(video.features, alone.features)
        with pytest.raises(VideoError, match="takes more than"):
            localizer.encode_video(str(colour_video), timeout=1e-9)


class _Remote(io.RawIOBase):
    """An object store's file: it reads and seeks, and has no descriptor."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()


def test_a_video_may_come_in_any_form(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    content = colour_video.read_bytes()
    expected = pictures(read_here(str(colour_video), OPTIONS, 8))
    packed = tmp_path / "film.mp4.gz"
    with gzip.open(packed, "wb") as file:
        file.write(content)
    with (
        colour_video.open("rb") as file,
        colour_video.open("r+b", buffering=0) as both_ways,
        gzip.open(packed) as unpacked,
        socketless_pipe(content) as pipe,
    ):
        forms = (
            colour_video, content, bytearray(content), io.BytesIO(content), file, both_ways,
            unpacked, _Remote(content), pipe,
        )  # fmt: skip
        for form in forms:
            found = pictures(decoder.read(form, OPTIONS, 8))
            assert np.array_equal(found[0], expected[0]), form
            assert found[1] == expected[1]
    sequence = FrameSequence(expected[0], np.arange(12.0))
    here = pictures(read_here(sequence, OPTIONS, 8))
    assert np.array_equal(pictures(decoder.read(sequence, OPTIONS, 8))[0], here[0])
    assert colour_video.read_bytes() == content
    for nothing in (b"", io.BytesIO()):
        with pytest.raises(VideoError, match="holds no bytes"):
            list(decoder.read(nothing, OPTIONS, 8))
    with pytest.raises(UsageError, match="is not a video"):
        list(decoder.read(3, OPTIONS, 8))


def socketless_pipe(content: bytes) -> Any:
    """A pipe that a thread writes a video into."""
    here, there = os.pipe()

    def write() -> None:
        with os.fdopen(there, "wb") as file:
            file.write(content)

    threading.Thread(target=write, daemon=True).start()
    return os.fdopen(here, "rb")


def test_an_address_is_downloaded_for_it(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

        def do_GET(self) -> None:
            if self.path == "/cut.mp4":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"short")
            else:
                super().do_GET()

    (tmp_path / "film.mp4").write_bytes(colour_video.read_bytes())
    served = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(VideoError, match="not allowed"):
            list(decoder.read(f"{address}/film.mp4", OPTIONS, 8))
        allowed = VideoOptions(preprocessing=Preprocessing(size=SIZE), protocols=("http",))
        found = pictures(decoder.read(f"{address}/film.mp4", allowed, 8))
        assert np.array_equal(found[0], pictures(read_here(str(colour_video), OPTIONS, 8))[0])
        with pytest.raises(VideoError, match=r"cannot be fetched.*not found"):
            list(decoder.read(f"{address}/gone.mp4", allowed, 8))
        with pytest.raises(VideoError, match="was not received completely"):
            list(decoder.read(f"{address}/cut.mp4", allowed, 8))
        server.shutdown()


def test_a_file_that_opens_siblings_cannot(decoder: DecoderProcess, tmp_path: Path) -> None:
    (tmp_path / "v.idx").write_text(
        "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\n"
        "id: en, index: 0\ntimestamp: 00:00:01:000, filepos: 000000000\n"
    )
    (tmp_path / "v.sub").write_bytes(bytes(4096))
    with pytest.raises(VideoError, match="VobSub"):
        list(decoder.read(str(tmp_path / "v.idx"), OPTIONS, 8))
    # The process had nothing of its folder but one descriptor, which is closed again.
    open_files = [str(one.readlink()) for one in Path(f"/proc/{process_id(decoder)}/fd").iterdir()]
    assert not [name for name in open_files if str(tmp_path) in name]


def test_it_has_no_secrets_and_no_powers(
    decoder: DecoderProcess, colour_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    assert set(launch.child_environment(gpu=False)) <= {
        "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TZ",
        "VTLOC_DEBUG", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
        "MALLOC_ARENA_MAX",
    }  # fmt: skip
    report = decoder.start()
    list(decoder.read(str(colour_video), OPTIONS, 8))
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{process_id(decoder)}/status").read_text().splitlines()
        if ":\t" in line
    )
    if "no-new-privileges" in report.held:
        assert status["NoNewPrivs"] == "1"
    if "capabilities" in report.held:
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    if "seccomp" in report.held:
        assert status["Seccomp"] == "2"


def test_nothing_in_the_current_directory_is_ever_imported(
    tmp_path: Path, colour_video: Path
) -> None:
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in ("resource", "msgspec", "av", "numpy", "pickle", "queue", "vtloc_runtime", "site"):
        (folder / f"{name}.py").write_text(
            f"import os; os.mkdir({str(tmp_path / ('ran ' + name))!r})\n"
        )
    code = f"""
import os, sys
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
os.chdir({str(folder)!r})
sys.path.insert(0, "")
sys.path.insert(0, ".")
os.environ["PYTHONPATH"] = "."
with DecoderProcess() as decoder:
    print(len(list(decoder.read({str(colour_video)!r}, VideoOptions(), 64))))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "2"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["downloads"]


def test_it_starts_where_the_standard_streams_are_closed(
    tmp_path: Path, colour_video: Path
) -> None:
    code = f"""
import os
for number in range(3):
    os.close(number)
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
with DecoderProcess() as decoder:
    parts = list(decoder.read({str(colour_video)!r}, VideoOptions(), 64))
open({str(tmp_path / "said")!r}, "w").write(str(len(parts)))
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)
    assert (tmp_path / "said").read_text() == "2"


def test_signals_to_the_group_do_not_reach_it(tmp_path: Path, colour_video: Path) -> None:
    code = f"""
import os, signal, time
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, lambda *_: None)
with DecoderProcess() as decoder:
    reading = decoder.read({str(colour_video)!r}, VideoOptions(), 1)
    next(reading)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.killpg(0, number)
        os.kill(decoder._process.pid, number)
    time.sleep(0.2)
    print(len(list(reading)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        start_new_session=True,
    )
    # All that is read without signals, less the part that came before them.
    assert int(done.stdout) == len(list(read_here(str(colour_video), VideoOptions(), 1))) - 1


def test_it_ends_with_its_parent_even_where_it_waits(tmp_path: Path) -> None:
    code = """
import os, signal, time
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess
decoder = DecoderProcess()
decoder.start()
os.kill(decoder._process.pid, signal.SIGSTOP)
print(decoder._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    child = Path(f"/proc/{int(done.stdout)}")
    for _ in range(100):
        if not child.exists() or "Z" in (child / "stat").read_text().rpartition(")")[2][:3]:
            return
        time.sleep(0.05)
    pytest.fail("the decoder outlived its parent")


def test_it_outlives_the_thread_that_began_it(decoder: DecoderProcess, colour_video: Path) -> None:
    thread = threading.Thread(target=lambda: list(decoder.read(str(colour_video), OPTIONS, 8)))
    thread.start()
    thread.join()
    before = process_id(decoder)
    time.sleep(0.2)
    assert list(decoder.read(str(colour_video), OPTIONS, 8))
    assert process_id(decoder) == before


def test_one_that_was_ended_from_outside_is_not_the_videos_fault(
    decoder: DecoderProcess, tmp_path: Path
) -> None:
    long = write_colour_video(tmp_path / "long.mp4", [("red", 60)])
    end_while_it_reads(decoder, signal.SIGKILL)
    with pytest.raises(DecoderLostError, match=r"ended from outside \(by SIGKILL\)") as caught:
        list(decoder.read(str(long), OPTIONS, 1))
    assert caught.value.where == str(long)
    assert list(decoder.read(str(long), OPTIONS, 1))


def test_a_package_that_does_not_load_is_not_the_videos_fault(
    colour_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_PACKAGES", ("vtloc_runtime", "numpy"))
    roots = launch._roots
    own = roots(("vtloc_runtime",))
    monkeypatch.setattr(launch, "_roots", lambda _: own)
    with DecoderProcess() as decoder:
        with pytest.raises(BackendError, match="does not start: ModuleNotFoundError: No module"):
            list(decoder.read(str(colour_video), OPTIONS, 8))
        monkeypatch.setattr(launch, "_roots", roots)
        monkeypatch.undo()
        assert list(decoder.read(str(colour_video), OPTIONS, 8))


def test_one_that_crossed_a_fork_is_refused(decoder: DecoderProcess, colour_video: Path) -> None:
    decoder._owner = os.getpid() + 1
    with pytest.raises(UsageError, match="after the fork"):
        list(decoder.read(str(colour_video), OPTIONS, 8))


def test_limits_of_the_process_take_the_place_of_the_videos_own(colour_video: Path) -> None:
    with DecoderProcess(DecoderLimits(max_duration=5)) as decoder:
        with pytest.raises(VideoError, match=r"lasts longer than 5 s.*--max-duration"):
            list(decoder.read(str(colour_video), OPTIONS, 8))
        short = VideoOptions(limits=Limits(seconds=1), preprocessing=Preprocessing(size=SIZE))
        with pytest.raises(VideoError, match="lasts longer than 5 s"):
            list(decoder.read(str(colour_video), short, 8))
    refused: list[dict[str, Any]] = [{"memory": -1}, {"timeout": 0}, {"timeout": float("nan")}]
    for wrong in refused:
        with pytest.raises(UsageError, match=next(iter(wrong))):
            DecoderLimits(**wrong)


@pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")
def test_storage_that_does_not_answer_is_given_up_and_waited_for(
    decoder: DecoderProcess, tmp_path: Path, colour_video: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(colour_video.read_bytes())
    # Opening a file under a lease waits until the lease is given back.
    code = f"""
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open({str(film)!r}, "r+b")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline()
        with DecoderProcess(DecoderLimits(timeout=0.5)) as impatient:
            began = time.monotonic()
            with pytest.raises(VideoError, match=r"could not be opened within|temporarily"):
                list(impatient.read(str(film), OPTIONS, 8))
            assert time.monotonic() - began < 5
        threading.Timer(0.5, holder.stdin.close).start()
        assert list(decoder.read(str(film), OPTIONS, 8))
