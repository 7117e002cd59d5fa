"""Claim: the GPU path is right and stays within its memory on the machine at hand.

Small checks that need a process of their own, each printed as one JSON object. They are steps of
`benchmarks.gpu.prove`.

    python -m benchmarks.gpu.checks leaks --bundle BUNDLE
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from vtloc_runtime import Localizer
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.video import VideoOptions, open_video

ROUNDS = 5
SENTENCES = 300
ALLOWED_GROWTH = 64 * 2**20


def leaks(bundle: Path | None, _: list[Path]) -> dict[str, Any]:
    """Memory of the GPU after a localizer was opened and closed again and again."""
    free = []
    for _round in range(ROUNDS):
        with Localizer.open(bundle, backend="tensorrt") as localizer:
            localizer.localize(_video(localizer, 40), ["a door opens", "a cat"])
        gc.collect()
        free.append(_free_memory())
    # The first round keeps what CUDA holds for the life of the process.
    grown = free[0] - free[-1]
    return {"rounds": ROUNDS, "grown_bytes": grown, "ok": grown <= ALLOWED_GROWTH}


def traffic(bundle: Path | None, _: list[Path]) -> dict[str, Any]:
    """Sentences about videos of many lengths: answers a second, once graphs are captured."""
    generator = np.random.default_rng(0)
    words = ["door", "cat", "person", "car", "kitchen", "street", "dog", "table", "red", "small"]
    with Localizer.open(bundle, backend="tensorrt") as localizer:
        videos = [_video(localizer, int(n)) for n in generator.integers(5, 240, 40)]
        found = {}
        for name, repeat in (("cold", 1), ("warm", 2)):
            began = time.perf_counter()
            for number in range(SENTENCES):
                chosen = generator.choice(words, int(generator.integers(1, 9)))
                query = f"{' '.join(chosen)} {repeat * SENTENCES + number}"
                localizer.localize(videos[number % len(videos)], query)
            found[f"{name}_answers_per_second"] = SENTENCES / (time.perf_counter() - began)
    return {name: round(rate) for name, rate in found.items()} | {"ok": True}


def no_nvml(bundle: Path | None, _: list[Path]) -> dict[str, Any]:
    """The runtime where NVML is missing, as in containers without the capability ``utility``."""
    from cuda.core import system

    missing = RuntimeError("NVML is hidden for this check")
    with (
        mock.patch.object(system, "get_kernel_mode_driver_version", side_effect=missing),
        Localizer.open(bundle, backend="tensorrt") as localizer,
    ):
        answer = localizer.localize(_video(localizer, 9), "a door opens")
    return {"ok": answer.best is not None or not answer.moments}


def pictures(_: Path | None, films: list[Path]) -> dict[str, Any]:
    """PSNR of NVDEC's frames against the processor's, the lowest over the films, dB."""
    lowest, frames = math.inf, 0
    for film in films:
        options = VideoOptions(frames_per_second=2.0)
        with open_video(film, options) as one, open_video(
            film, replace(options, decoder="nvdec")
        ) as other:  # fmt: skip
            for expected, found in zip(one, other, strict=True):
                error = np.mean((expected.image.astype(float) - found.image) ** 2)
                lowest = min(lowest, 10 * math.log10(255**2 / error) if error else math.inf)
                frames += 1
    equal = math.isinf(lowest)
    return {
        "frames": frames,
        "psnr_db": "equal in every bit" if equal else round(lowest, 2),
        "ok": equal,
    }


def _video(localizer: Localizer, frames: int) -> EncodedVideo:
    width = localizer.bundle.manifest.networks["visual"].dims["feature"]
    features = np.random.default_rng(frames).standard_normal((frames, width)).astype(np.float32)
    return EncodedVideo(features, np.arange(frames, dtype=float), float(frames))


def _free_memory() -> int:
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    ctypes.CDLL("libcuda.so.1").cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    return free.value


CHECKS = {"leaks": leaks, "traffic": traffic, "no-nvml": no_nvml, "pictures": pictures}


def main() -> None:
    """Run one check; exit code 1 where it does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--films", type=Path, nargs="*", default=[])
    chosen = parser.parse_args()
    found = CHECKS[chosen.check](chosen.bundle, chosen.films)
    print(json.dumps(found))
    sys.exit(0 if found["ok"] else 1)


if __name__ == "__main__":
    main()
