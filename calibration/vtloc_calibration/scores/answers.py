"""Ask a bundle every labelled sentence, through the runtime, and keep its raw scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vtloc.errors import AnnotationError
from vtloc_calibration.report_files import check_report_file
from vtloc_calibration.scores.report import ScoredAnswer
from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.input_file import read_input
from vtloc_runtime.system.text import numbered_lines
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from vtloc_calibration.scores.labelled import LabelledQuery
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer


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
    answering = bundle.always_answering()
    return replace(
        answering, manifest=msgspec.structs.replace(answering.manifest, score_calibration=None)
    )


def ask(
    localizer: Localizer,
    labelled: Sequence[LabelledQuery],
    *,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Find every sentence in its video; each video is encoded once.

    Videos are decoded in a process of their own: one that crashes the decoder is left out.

    Args:
        localizer: Opened on a bundle ``without_calibration``.
        labelled: Sentences, present and absent.
        progress: Called with the number of sentences done after each video.

    Raises:
        VtlocError: The localizer failed for another reason than one video.
    """
    unreadable: dict[str, str] = {}

    def encoded() -> Iterator[tuple[EncodedVideo, Sequence[LabelledQuery]]]:
        done = 0
        for video, group in _by_video(labelled):
            queries = list(group)
            try:
                found = localizer.encode_video(video, read=decoder.read)
            except VideoError as error:
                unreadable[queries[0].name] = str(error)
            else:
                yield found, queries
            done += len(queries)
            if progress is not None:
                progress(done)

    with DecoderProcess() as decoder:
        answers = ask_encoded(localizer, encoded())
    return replace(answers, unreadable=unreadable)


def ask_encoded(
    localizer: Localizer, videos: Iterable[tuple[EncodedVideo, Sequence[LabelledQuery]]]
) -> Answers:
    """Find every sentence in its video; where the bundle tells presence, with its margin.

    Args:
        localizer: Opened on a bundle ``without_calibration``.
        videos: Each with the sentences to ask it, present and absent.

    Raises:
        VtlocError: The localizer failed.
    """
    answers = [one for encoded, queries in videos for one in _answers(localizer, encoded, queries)]
    return Answers(tuple(answers), {})


def _answers(
    localizer: Localizer, encoded: EncodedVideo, queries: Sequence[LabelledQuery]
) -> Iterable[ScoredAnswer]:
    found = localizer.localize(encoded, [one.query for one in queries])
    for one, localization in zip(queries, found, strict=True):
        best = localization.best
        if best is None:
            raise VideoError("the localizer gave no moment", where=one.video)
        yield ScoredAnswer(
            video=one.name,
            query=one.query,
            present=one.present,
            raw=best.score,
            overlap=one.overlap(best),
            start=best.start,
            end=best.end,
            margin=localization.presence,
        )


def _by_video(
    labelled: Sequence[LabelledQuery],
) -> Iterable[tuple[Path, Iterable[LabelledQuery]]]:
    return groupby(sorted(labelled, key=lambda one: one.video), key=lambda one: one.video)


def write_answers(found: Answers, path: Path) -> None:
    """Keep answers as JSON lines, so that scores can be calibrated again without the videos.

    Args:
        found: What a bundle answered.
        path: The file to write.

    Raises:
        OutputError: It cannot be written, or another program's file is there.
    """
    check_report_file(path)
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in found.answers]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as draft:
            draft.writelines(f"{line}\n".encode() for line in lines)
    except OSError as error:
        raise OutputError(f"cannot write the answers: {error.strerror}", where=path) from error


def read_answers(path: Path) -> tuple[ScoredAnswer, ...]:
    """Read what ``write_answers`` kept.

    Args:
        path: The file of JSON lines.

    Raises:
        AnnotationError: A line is not an answer.
    """
    try:
        text = read_input(path).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise AnnotationError(f"cannot read the answers: {error}", where=path) from error
    found = []
    for number, line in numbered_lines(text):
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=ScoredAnswer))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise AnnotationError(
                f"the line is not an answer: {error}", where=f"{path}:{number}"
            ) from error
    return tuple(found)
