"""Ways to read a frame a second of a video: this reader, and what other people use."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av

from benchmarks.decode.films import RATE
from vtloc_runtime.video import VideoOptions, open_video

SIZE = 224


def read_needed(path: Path) -> int:
    """This reader."""
    with open_video(path) as reader:
        return sum(1 for _ in reader)


def read_keyframes(path: Path) -> int:
    """Keyframes alone, as a quick search looks at them first: fewer frames than a second each."""
    with open_video(path, VideoOptions(strategy="outline")) as outline:
        list(outline)
    instants = tuple(float(second) for second in outline.keyframes)
    if not instants:
        return 0
    with open_video(path, VideoOptions(strategy="keyframes", instants=instants)) as reader:
        return sum(1 for _ in reader)


def read_everything(path: Path) -> int:
    """Every packet decoded with PyAV, the same frames kept and scaled the same way."""
    with open_video(path, VideoOptions(strategy="everything")) as reader:
        return sum(1 for _ in reader)


def read_seeking(path: Path) -> int:
    """A seek a sample with PyAV, decoding from the keyframe before it."""
    count = 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        duration = float(container.duration or 0) / av.time_base
        for second in range(int(duration)):
            container.seek(int(second / (stream.time_base or 1)), stream=stream)
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
            if frame.pts is not None and frame.time >= due:
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


def read_whole(path: Path) -> int:
    """clip-video-encode's way: every frame decoded to RGB, every n-th kept."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    step = round(capture.get(cv2.CAP_PROP_FPS)) or RATE
    index = count = 0
    while True:
        there, picture = capture.read()
        if not there:
            return count
        if index % step == 0:
            cv2.resize(picture, (398, SIZE), interpolation=cv2.INTER_AREA)
            count += 1
        index += 1


def scan_for_cuts(path: Path) -> int:
    """PySceneDetect's scan with its content detector: it gives cuts, not frames."""
    from scenedetect import ContentDetector, detect

    # A film without a cut is one scene then, rather than none.
    return len(detect(str(path), ContentDetector(), start_in_scene=True))


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


METHODS: dict[str, tuple[Callable[[Path], int], str | None]] = {
    "needed": (read_needed, None),
    "keyframes": (read_keyframes, None),
    "everything": (read_everything, None),
    "seek a sample": (read_seeking, None),
    "PyAV and Pillow": (read_plain_pyav, "PIL"),
    "torchcodec": (read_torchcodec, "torchcodec.decoders"),
    "decord": (read_decord, "decord"),
    "OpenCV": (read_opencv, "cv2"),
    "every frame in RGB": (read_whole, "cv2"),
    "PySceneDetect": (scan_for_cuts, "scenedetect"),
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
