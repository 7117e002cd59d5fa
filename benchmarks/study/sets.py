"""What the study of the localizer's parts trains on and asks, made once for every arm."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.accuracy.accuracy import REAL, caltech, coco, film, imagenet, labelled
from benchmarks.accuracy.montage import montages
from recipes.default_bundle.composition import CompositionConfig
from recipes.default_bundle.footage import FootageConfig
from recipes.default_bundle.source import Encoders, TimelineSource
from vtloc.model.samples import Sample
from vtloc_runtime import Localizer

FRAMES = (16, 32)


@dataclass(frozen=True, slots=True)
class Kept:
    """Samples made once and given to every arm alike.

    Attributes:
        epochs: The samples of each epoch.
    """

    epochs: tuple[tuple[Sample, ...], ...]

    def __len__(self) -> int:
        return len(self.epochs[0])

    def epoch(self, number: int) -> Iterator[Sample]:
        """The samples of an epoch, widened again from half precision."""
        for sample in self.epochs[number % len(self.epochs)]:
            yield replace(sample, features=sample.features.astype(np.float32))


def keep(source: TimelineSource, epochs: int) -> Kept:
    """Compose every epoch of a source; features are held in half precision."""
    return Kept(
        tuple(
            tuple(
                replace(sample, features=sample.features.astype(np.float16))
                for sample in source.epoch(number)
            )
            for number in range(epochs)
        )
    )


def composed_sets(encoders: Encoders, count: int) -> dict[str, list[Sample]]:
    """Timelines of concepts and sentences kept out of training, by what they test."""
    plain = CompositionConfig(frames=FRAMES, absent=0.0, companion=0.0, repeated=0.0)
    still = FootageConfig()
    moving = FootageConfig(fixed_camera=1.0, drift=(0.6, 0.9), hidden=1.0)
    chosen = {
        "held-out classes": (replace(plain, relations=(("name", 1.0),)), still),
        "synonyms": (replace(plain, relations=(("synonym", 1.0),)), still),
        "hypernyms": (replace(plain, relations=(("kind", 1.0),)), still),
        "several segments": (replace(plain, repeated=1.0, segments=(4, 7)), still),
        "the first or the last of two": (
            replace(plain, repeated=1.0, ordered=1.0, segments=(4, 7)),
            still,
        ),
        "two things at once": (replace(plain, companion=1.0), still),
        "footage-like, hard": (replace(plain, hard=1.0, empty=0.3), moving),
    }
    return {
        name: list(
            TimelineSource(
                encoders, "held-out", seed=77, samples=count, config=config, footage=footage
            ).epoch(0)
        )
        for name, (config, footage) in chosen.items()
    }


def real_sets(encoders: Encoders, media: Path, videos: int) -> dict[str, list[Sample]]:
    """Filmed photographs and labelled footage, through the runtime's reader."""
    photos = media / "photos"
    found: dict[str, list[Sample]] = {}
    with tempfile.TemporaryDirectory() as folder, Localizer.open() as localizer:
        sources = {
            "COCO photographs": film(coco(photos), Path(folder), videos, 1),
            "Caltech photographs": film(caltech(photos), Path(folder), videos, 1),
            "ImageNet photographs": film(imagenet(photos), Path(folder), videos, 1),
            "montages of real footage": montages(media / "videos", Path(folder), videos, 1),
            "real videos": labelled(media / "videos"),
            "real videos, further labels": labelled(
                media / "videos", REAL["real videos, further labels"]
            ),
        }
        for name, source in sources.items():
            found[name] = []
            for path, examples in source:
                video = localizer.encode_video(path)
                tokens = encoders.tokens([example.query for example in examples])
                found[name] += [
                    Sample(
                        example.id,
                        video.features,
                        states,
                        example.moments,
                        video.times,
                        video.duration,
                    )
                    for example, states in zip(examples, tokens, strict=True)
                ]
    return found
