"""Claim: no flipped bit of a results file or of the cache is believed, and what is whole is kept.

Flips one bit of a results file at a time, anywhere in it, and opens the file as a run would, with
``--repair`` where it is refused. Counts the flips after which a record differs from the one that
was written, the errors that are not vtloc's own, and the whole records that repairing lost.

Then flips one bit of the cache of an encoded video at a time, in its entry or in the note about
its file, and asks for the video twice. Counts the answers that differ from what was encoded, the
errors, and the videos that are encoded anew the second time, too.

    python -m benchmarks.durability.bit_flips --flips 3000 --cache-flips 600
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record, encode_record
from vtloc_runtime.batch.results.results_file import ResultsFile
from vtloc_runtime.errors import OutputError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache


def write_records(count: int) -> list[Record]:
    """Records of every form: answers, absences, failures, odd names."""
    chance = random.Random(1)
    forms: list[Record] = []
    for number in range(count):
        start = round(chance.uniform(0, 100), 3)
        moment = FoundMoment(start=start, end=start + 2.5, score=round(chance.random(), 4))
        failed = number % 5 == 4
        forms.append(
            Record(
                id=f"{chance.getrandbits(64):016x}",
                video=f"videos/película {number}.mp4",
                query="a dog that runs – on a beach",
                run="0123456789ab",
                moments=None if failed else (moment,) * (number % 3),
                error=Failure(kind="video", what="damaged") if failed else None,
                duration=None if failed else 120.0,
                size=chance.randrange(10**9),
                modified=round(chance.uniform(1e9, 2e9), 6),
                backend="onnxruntime:cpu",
                timings={"decode": 1.5, "encode": 0.25},
            )
        )
    return forms


def open_flipped(path: Path, true: dict[str, Record]) -> str:
    """What becomes of a file with a flipped bit."""
    outcome = "found at once"
    try:
        try:
            results = ResultsFile(path, run="0123456789ab")
            outcome = "cut off, to be done again"
        except OutputError:
            results = ResultsFile(path, run="0123456789ab", repair=True)
    except OutputError:
        return "refused"
    except Exception as error:  # noqa: BLE001 - this is what is counted
        return f"escaped: {type(error).__name__}"
    with results:
        found = list(results.records())
    if any(true.get(record.id) != record for record in found):
        return "believed"
    if len(found) < len(true) - 2:
        return "whole records lost"
    return "harmless" if len(found) == len(true) else outcome


def write_video(count: int) -> EncodedVideo:
    """An encoded video whose frames share some features."""
    chance = np.random.default_rng(1)
    return EncodedVideo(
        chance.normal(size=(count, 16)).astype(np.float32),
        np.arange(2.0 * count),
        2.0 * count,
        "e" * 64,
        ("two packets are damaged",),
        index=np.arange(2 * count) // 2,
    )


class Encoder:
    """Counts how often it is asked for the video."""

    def __init__(self, video: EncodedVideo) -> None:
        self.video = video
        self.calls = 0

    def __call__(self) -> EncodedVideo:
        """The video."""
        self.calls += 1
        return self.video


def fetch_flipped(cache: FeatureCache, film: Path, true: EncodedVideo) -> str:
    """What becomes of a video one of whose bits in the cache was flipped."""
    encode = Encoder(true)
    try:
        found = cache.fetch(film, "s", encode)
        first = encode.calls
        cache.fetch(film, "s", encode)
    except Exception as error:  # noqa: BLE001 - this is what is counted
        return f"escaped: {type(error).__name__}"
    same = (
        np.array_equal(found.features, true.features)
        and np.array_equal(found.times, true.times)
        and (found.duration, found.encoder, found.warnings)
        == (true.duration, true.encoder, true.warnings)
    )
    if not same:
        return "believed"
    if encode.calls > first:
        return "encoded anew again and again"
    return "encoded anew" if first else "harmless"


def flip_cache(folder: Path, flips: int) -> Counter[str]:
    """Flip bits of an entry and of a note in turn."""
    cache, true, chance = FeatureCache(folder / "cache"), write_video(20), random.Random(0)
    film = folder / "film.mp4"
    film.write_bytes(b"any film" * 100)
    # Files that changed a moment ago get no note: they may change again unseen.
    time.sleep(2.5)
    cache.fetch(film, "s", lambda: true)
    files = [path for path in (folder / "cache").rglob("*") if path.is_file()]
    if len(files) != 2:
        sys.exit(f"expected an entry and a note, and found {files}")
    whole = {path: path.read_bytes() for path in files}
    counts: Counter[str] = Counter()
    for number in range(flips):
        for path, content in whole.items():
            path.write_bytes(content)
        path = files[number % len(files)]
        flipped = bytearray(whole[path])
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        counts[fetch_flipped(cache, film, true)] += 1
    return counts


def main() -> None:
    """Flip bits and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=3000)
    parser.add_argument("--cache-flips", type=int, default=600)
    parser.add_argument("--records", type=int, default=60)
    options = parser.parse_args()
    records = write_records(options.records)
    whole = b"".join(encode_record(record) for record in records)
    true = {record.id: record for record in records}
    chance = random.Random(0)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.jsonl"
        for _ in range(options.flips):
            flipped = bytearray(whole)
            flipped[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            counts[open_flipped(path, true)] += 1
            for aside in Path(folder).glob("*.damaged-*"):
                aside.unlink()
        cached = flip_cache(Path(folder), options.cache_flips)
    print("| what became of it | flips of the results file | of the cache |")
    print("|---|--:|--:|")
    for outcome in sorted(counts.keys() | cached.keys()):
        print(f"| {outcome} | {counts[outcome]} | {cached[outcome]} |")
    good = {"found at once", "cut off, to be done again", "harmless", "encoded anew"}
    sys.exit(bool((counts.keys() | cached.keys()) - good))


if __name__ == "__main__":
    main()
