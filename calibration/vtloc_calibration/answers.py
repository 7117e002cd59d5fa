"""Ask a bundle every labelled sentence, through the runtime, and keep its raw scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vtloc_calibration.score_report import ScoredAnswer
from vtloc_runtime.errors import AnnotationError, OutputError, VideoError

if TYPE_CHECKING:
    from vtloc_calibration.labelled import LabelledQuery
    from vtloc_runtime.bundle import Bundle
    from vtloc_runtime.localizer import Localizer


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle answered.

    Attributes:
        answers: One for each sentence whose video could be read.
        unreadable: Why each other video could not be, by its name.
    """

    answers: tuple[ScoredAnswer, ...]
    unreadable: dict[str, str]


def without_calibration(bundle: Bundle) -> Bundle:
    """The same bundle, with raw scores and an answer to every sentence."""
    return replace(
        bundle, manifest=msgspec.structs.replace(bundle.manifest, score_calibration=None)
    )


def ask(
    localizer: Localizer,
    labelled: Sequence[LabelledQuery],
    *,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Find every sentence in its video; each video is encoded once.

    Args:
        localizer: Opened on a bundle ``without_calibration``.
        labelled: Sentences, present and absent.
        progress: Called with the number of sentences done after each video.

    Raises:
        VtlocError: The localizer failed for another reason than one video.
    """
    answers: list[ScoredAnswer] = []
    unreadable: dict[str, str] = {}
    done = 0
    for video, group in _by_video(labelled):
        queries = list(group)
        try:
            encoded = localizer.encode_video(video)
        except VideoError as error:
            unreadable[queries[0].name] = str(error)
        else:
            found = localizer.localize(encoded, [one.query for one in queries])
            for one, localization in zip(queries, found, strict=True):
                best = localization.best
                if best is None:
                    raise VideoError("the localizer gave no moment", where=video)
                answers.append(
                    ScoredAnswer(
                        video=one.name,
                        query=one.query,
                        present=one.present,
                        raw=best.score,
                        overlap=one.overlap(best),
                        start=best.start,
                        end=best.end,
                    )
                )
        done += len(queries)
        if progress is not None:
            progress(done)
    return Answers(tuple(answers), unreadable)


def _by_video(
    labelled: Sequence[LabelledQuery],
) -> Iterable[tuple[Path, Iterable[LabelledQuery]]]:
    return groupby(sorted(labelled, key=lambda one: one.video), key=lambda one: one.video)


def write_answers(answers: Sequence[ScoredAnswer], path: Path) -> None:
    """Keep answers as JSON lines, so that scores can be calibrated again without the videos.

    Args:
        answers: What a bundle answered.
        path: The file to write.

    Raises:
        OutputError: It cannot be written.
    """
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in answers]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the answers: {error.strerror}", where=path) from error


def read_answers(path: Path) -> tuple[ScoredAnswer, ...]:
    """Read what ``write_answers`` kept.

    Args:
        path: The file of JSON lines.

    Raises:
        AnnotationError: A line is no answer; it is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"cannot read the answers: {error}", where=path) from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(msgspec.json.decode(line, type=ScoredAnswer))
        except msgspec.DecodeError as error:
            raise AnnotationError(
                f"the line is no answer: {error}", where=f"{path}:{number}"
            ) from error
    return tuple(found)
