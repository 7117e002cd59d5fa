"""Claim: no flipped bit of a results file is believed, and what is whole is kept.

Flips one bit of a results file at a time, anywhere in it, and opens the file as a run would, with
``--repair`` where it is refused. Counts the flips after which a record differs from the one that
was written, the errors that are not vtloc's own, and the whole records that repairing lost.

    python -m benchmarks.durability.bit_flips --flips 3000
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from vtloc_runtime.batch.records import Failure, FoundMoment, Record, encode_record
from vtloc_runtime.batch.results_file import ResultsFile
from vtloc_runtime.errors import OutputError


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


def main() -> None:
    """Flip bits and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=3000)
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
    print("| what became of the file | flips |")
    print("|---|--:|")
    for outcome, count in counts.most_common():
        print(f"| {outcome} | {count} |")
    good = {"found at once", "cut off, to be done again", "harmless"}
    sys.exit(bool(counts.keys() - good))


if __name__ == "__main__":
    main()
