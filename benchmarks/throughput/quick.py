"""Claim: a quick search of a long film takes a fraction of the processor time of an exact one.

Films of `films.py`, with a keyframe every 250 pictures or ``--group``, are asked a sentence exactly
and quickly, each time from nothing. Counted are processor seconds, the packets that were decoded
and the pictures that were encoded; on a shared machine the clock says little.

    python -m benchmarks.throughput.quick moving-720p --minutes 2 10 60 120 --sentences 3

With ``--exact-up-to`` longer films are not searched exactly; their exact cost is then taken from
the longest film that was, per minute.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.throughput.films import GROUP, KINDS, QUERIES, write_film
from benchmarks.throughput.machine import machine_line
from vtloc_runtime import Localizer
from vtloc_runtime.video.demuxing.demux import DemuxPass

if TYPE_CHECKING:
    from collections.abc import Callable

    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo


@dataclass(frozen=True, slots=True)
class Cost:
    """What one search took.

    Attributes:
        processor: Processor time, seconds.
        packets: Packets that were decoded.
        pictures: Pictures that were encoded.
    """

    processor: float
    packets: int
    pictures: int


def processor_seconds() -> float:
    """Processor time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(work: Callable[[], EncodedVideo]) -> tuple[EncodedVideo, Cost]:
    """What some work gives, and what it costs."""
    packets = 0
    decode = DemuxPass.decode

    def counting(own: DemuxPass, packet: Any, **options: Any) -> Any:
        nonlocal packets
        packets += packet is not None
        return decode(own, packet, **options)

    began = processor_seconds()
    with patch.object(DemuxPass, "decode", counting):
        video = work()
    return video, Cost(processor_seconds() - began, packets, len(video.rows))


def main() -> None:
    """Measure, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "film", nargs="?", default="moving-720p", help="KIND-LINESp: " + ", ".join(KINDS)
    )
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 10, 60, 120])
    parser.add_argument("--group", type=int, default=GROUP, help="pictures between keyframes")
    parser.add_argument("--sentences", type=int, default=3)
    parser.add_argument("--exact-up-to", type=float, default=float("inf"), metavar="MINUTES")
    parser.add_argument("--bundle", type=Path, help="a bundle; without it the one that ships")
    parser.add_argument("--folder", type=Path, help="keeps the films for the next time")
    options = parser.parse_args()
    kind, _, lines = options.film.partition("-")
    print(
        "| film | exact: processor s | packets | pictures | quick: processor s | packets "
        "| pictures | processor time | packets | same moment |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    known: tuple[float, Cost] | None = None
    with (
        tempfile.TemporaryDirectory() as name,
        Localizer.open(options.bundle, threads=1) as localizer,
    ):
        folder = options.folder or Path(name)
        for minutes in sorted(options.minutes):
            often = "" if options.group == GROUP else f"-{options.group}"
            path = write_film(
                folder / f"{options.film}-{minutes:g}{often}.mp4",
                kind,
                lines=int(lines.removesuffix("p")),
                seconds=60 * minutes,
                group=options.group,
            )
            exact = None
            if minutes <= options.exact_up_to:
                exact, cost = measured(partial(localizer.encode_video, path))
                known = minutes, cost
            if known is None:
                raise SystemExit("the shortest film must be searched exactly")
            whole = scaled(known[1], minutes / known[0])
            queries = QUERIES[:: len(QUERIES) // options.sentences][: options.sentences]
            found, same = [], 0
            for query in queries:
                video, cost = measured(partial(localizer.encode_quickly, path, [query]))
                found.append(cost)
                if exact is not None:
                    one, other = (localizer.localize(film, query).best for film in (exact, video))
                    same += one == other or (
                        one is not None and other is not None and one.overlap(other) >= 0.9
                    )
            quick = median(found)
            print(
                f"| {options.film}, {minutes:g} min | {whole.processor:.1f} | {whole.packets} "
                f"| {whole.pictures} | {quick.processor:.1f} | {quick.packets} | {quick.pictures} "
                f"| {quick.processor / whole.processor:.1%} | {quick.packets / whole.packets:.1%} "
                f"| {f'{same} of {len(queries)}' if exact is not None else 'not asked'} |",
                flush=True,
            )
    print(f"\nMedians of {options.sentences} sentences. {machine_line('onnxruntime')}")


def scaled(cost: Cost, factor: float) -> Cost:
    """The cost of a film so many times as long."""
    return Cost(
        cost.processor * factor, round(cost.packets * factor), round(cost.pictures * factor)
    )


def median(costs: list[Cost]) -> Cost:
    """The median of each part."""
    return Cost(
        statistics.median(one.processor for one in costs),
        round(statistics.median(one.packets for one in costs)),
        round(statistics.median(one.pictures for one in costs)),
    )


if __name__ == "__main__":
    main()
