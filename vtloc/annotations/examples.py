"""What every benchmark comes down to: a video, a sentence, and the moments it describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_runtime.localize.spans.moments import Moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Example:
    """One query with its annotation.

    Attributes:
        id: Unique within its split.
        video: The video's name in the benchmark, without folder or suffix.
        duration: The video's length, seconds.
        query: The sentence, without blanks around it.
        moments: Every moment it describes, clamped to the video; empty where the benchmark keeps
            its labels to itself.
        consistent: False where the annotation ends before it begins or lies outside the video.
    """

    id: str
    video: str
    duration: float
    query: str
    moments: tuple[Moment, ...]
    consistent: bool = True


@dataclass(frozen=True, slots=True)
class Split:
    """The examples of one file of a benchmark.

    Attributes:
        benchmark: The benchmark's name, for tables.
        name: The split's name, for tables: ``val_1`` and ``val_2`` are not the same.
        examples: In the file's order.
    """

    benchmark: str
    name: str
    examples: tuple[Example, ...]

    @property
    def title(self) -> str:
        """Benchmark and split, as tables name them."""
        return f"{self.benchmark} {self.name}"


@dataclass(frozen=True, slots=True)
class FilterReport:
    """What `filter_examples` left out.

    Attributes:
        kept: Examples that stayed.
        short: Examples left out because no moment is long enough.
        inconsistent: Examples left out because their annotation contradicts itself.
    """

    kept: int
    short: int
    inconsistent: int

    def __str__(self) -> str:
        return (
            f"{self.kept} examples kept, {self.short} short and "
            f"{self.inconsistent} inconsistent ones left out"
        )


def annotated(
    identifier: str, video: str, duration: float, query: str, spans: Iterable[Sequence[float]]
) -> Example:
    """An example from raw spans in seconds: clamped to the video, start before end."""
    moments = []
    consistent = True
    for first, last in spans:
        consistent &= first < last and first < duration
        start, end = (min(max(time, 0.0), duration) for time in sorted((first, last)))
        moments.append(Moment(start, end, 1.0))
    return Example(identifier, video, duration, " ".join(query.split()), tuple(moments), consistent)


def filter_examples(
    examples: Iterable[Example], *, minimum_seconds: float = 2.0
) -> tuple[tuple[Example, ...], FilterReport]:
    """The paper's filter: no short segments, no inconsistent annotations.

    Args:
        examples: What to filter; unlabelled examples stay.
        minimum_seconds: Moments shorter than this go; an example left without any goes too.
    """
    kept: list[Example] = []
    short = inconsistent = 0
    for example in examples:
        moments = tuple(m for m in example.moments if m.end - m.start >= minimum_seconds)
        if not example.consistent:
            inconsistent += 1
        elif example.moments and not moments:
            short += 1
        else:
            kept.append(
                Example(example.id, example.video, example.duration, example.query, moments)
            )
    return tuple(kept), FilterReport(len(kept), short, inconsistent)
