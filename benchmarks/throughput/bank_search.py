"""Claim: where ordinary sentences tell presence, a search for the best 20 films asks few others.

Films are made of real CLIP vectors: each shows some photographs, as long as chance has it, with a
little noise. Half of the captions are the bank, and the other half are searched for. Counted are
the films that have to be asked until no other can be among the best, by what the index holds, and
by each film's highest cosine and its frames' least loss alone. The best are compared with those of
asking every film.

    VTLOC_TEST_MEDIA=data python -m benchmarks.throughput.bank_search
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.bundle.manifest import SharedSpace
from vtloc_runtime.library.catalogue import Rows
from vtloc_runtime.library.closest import closest_cosines
from vtloc_runtime.library.feature_table import pack
from vtloc_runtime.library.ranking import bank_bounds
from vtloc_runtime.localize.presence.bank_presence import BankPresence
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
from vtloc_runtime.localize.spans.similarity import cosine_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOP = 20
FRAMES = 120
SCENES = (3, 16)
NOISE = 0.02


def made_up_film(images: NDArray[np.float32], chance: np.random.Generator) -> NDArray[np.float32]:
    """A film that shows a few of the photographs, one after the other."""
    scenes = images[chance.choice(len(images), chance.integers(*SCENES))]
    rows = scenes[np.sort(chance.integers(len(scenes), size=FRAMES))]
    noise = NOISE * chance.standard_normal(rows.shape)
    return np.asarray(rows + noise, dtype=np.float32)


def asked_films(bounds: NDArray[np.float64], presences: NDArray[np.float64]) -> int:
    """How many films are asked for the best, in the order of their bounds."""
    found: list[float] = []
    for number in np.argsort(-bounds, kind="stable"):
        if len(found) >= TOP and bounds[number] < sorted(found)[-TOP]:
            break
        found.append(float(presences[number]))
    best = np.sort(presences)[-TOP:]
    if not np.array_equal(np.sort(found)[-TOP:], best):
        raise SystemExit("the best films are not those of asking every film")
    return len(found)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, default=os.environ.get("VTLOC_TEST_MEDIA"))
    parser.add_argument("--films", type=int, default=600)
    parser.add_argument("--sentences", type=int, default=100)
    options = parser.parse_args()
    if options.media is None:
        print("bank_search: skipped, no folder of real files (set VTLOC_TEST_MEDIA)")
        return
    pairs = np.load(Path(options.media) / "clip_numbers" / "coco500_clip_b16.npy")
    images, captions = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in pairs)
    shared = SharedSpace(start=0, stop=images.shape[1])
    chance = np.random.default_rng(0)
    banked, searched = np.array_split(chance.permutation(len(captions)), 2)
    bank = SentenceBank.of_vectors(captions[banked], captions[banked].mean(axis=0))
    presence = BankPresence(bank)
    films = [made_up_film(images, chance) for _ in range(options.films)]
    known = [presence.in_video(film, shared) for film in films]
    table = np.concatenate(
        [pack(film, one.nearest) for film, one in zip(films, known, strict=True)]
    )
    ranges = [Rows(number * FRAMES, FRAMES, 0) for number in range(len(films))]
    scale = (
        [one.middle for one in known],
        [one.above for one in known],
        [one.below for one in known],
    )
    least = np.array([one.nearest.min() for one in known])
    by_index, by_cosine = [], []
    for caption in captions[searched[: options.sentences]]:
        vector = np.append(caption, -1.0)
        curves = [cosine_curve(film, caption, shared) for film in films]
        presences = np.array([one.margin(curve) for one, curve in zip(known, curves, strict=True)])
        reached = closest_cosines(table, ranges, vector[None])[0] * np.linalg.norm(vector)
        by_index.append(asked_films(bank_bounds(reached, *scale), presences))
        highest = np.array([curve.max() for curve in curves]) - least
        by_cosine.append(asked_films(bank_bounds(highest, *scale), presences))
    print(f"| films asked for the best {TOP} of {len(films)} | median | most |\n|---|--:|--:|")
    for name, counts in (("by the index", by_index), ("by the highest cosine alone", by_cosine)):
        print(f"| {name} | {np.median(counts):.0f} | {max(counts)} |")


if __name__ == "__main__":
    main()
