"""Ask a bundle every labelled sentence, through the runtime, and keep its raw scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from vtloc.errors import AnnotationError
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.report_files import check_report_file
from vtloc_calibration.scores.report import ScoredAnswer
from vtloc_runtime.errors import OutputError, VideoError
from vtloc_runtime.localize.presence.absence import SHARE, PresenceCheck, ReferenceFrames
from vtloc_runtime.localize.spans.similarity import cosine_curve
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.text import numbered_lines
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtloc_calibration.scores.labelled import LabelledQuery
    from vtloc_calibration.scores.report import ScoreReport
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer

LEAST_REFERENCE = 100
"""Frames of other videos below which nearly all of them is not a useful share."""

_REFERENCE = 512
_REFERENCE_SUFFIX = ".reference.safetensors"


@dataclass(frozen=True, slots=True)
class Answers:
    """What a bundle answered.

    Attributes:
        answers: One for each sentence whose video could be read.
        unreadable: Why each other video could not be, by its name.
        reference: What the margins were compared with; None where there are none.
    """

    answers: tuple[ScoredAnswer, ...]
    unreadable: dict[str, str]
    reference: ReferenceFrames | None = None

    def presence(self, report: ScoreReport) -> tuple[ReferenceFrames, float] | None:
        """What tells that a sentence is absent; None where scores do, or nothing.

        Args:
            report: What these answers gave.

        Raises:
            CalibrationError: The answers were kept without the frames behind their margins.
        """
        if report.evidence != "margin" or report.threshold is None:
            return None
        if self.reference is None:
            raise CalibrationError(
                "the answers have margins, but the reference frames behind them are not there",
                remedy=f"Keep the {_REFERENCE_SUFFIX} file beside the answers, or ask again",
            )
        return self.reference, report.threshold


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
    reference: ReferenceFrames | None = None,
    progress: Callable[[int], None] | None = None,
) -> Answers:
    """Find every sentence in its video; each video is encoded once.

    Videos are decoded in a process of their own: one that crashes the decoder is left out.

    Args:
        localizer: Opened on a bundle ``without_calibration``.
        labelled: Sentences, present and absent.
        reference: As for ``ask_encoded``.
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
        answers = ask_encoded(localizer, encoded(), reference=reference)
    return replace(answers, unreadable=unreadable)


def ask_encoded(
    localizer: Localizer,
    videos: Iterable[tuple[EncodedVideo, Sequence[LabelledQuery]]],
    *,
    reference: ReferenceFrames | None = None,
) -> Answers:
    """Find every sentence in its video.

    Where frames and sentences share a space, every answer comes with its margin over reference
    frames. Without given ones they are drawn from the videos themselves; a sentence is then held
    against those of the other videos alone, as one about a new video will be.

    Args:
        localizer: Opened on a bundle ``without_calibration``.
        videos: Each with the sentences to ask it, present and absent.
        reference: Frames that sentences are compared with.

    Raises:
        VtlocError: The localizer failed.
    """
    answers: list[ScoredAnswer] = []
    margins = _Margins(localizer, reference)
    for encoded, queries in videos:
        answers += _answers(localizer, encoded, queries)
        margins.see(encoded, [one.query for one in queries])
    found, used = margins.found()
    if found is not None:
        answers = [replace(one, margin=own) for one, own in zip(answers, found, strict=True)]
    return Answers(tuple(answers), {}, used)


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
        )


class _Margins:
    """Gathers, video by video, what margins are made of."""

    def __init__(self, localizer: Localizer, reference: ReferenceFrames | None) -> None:
        self._localizer = localizer
        self._given = reference
        self._shared = localizer.bundle.manifest.shared_space
        self._frames: list[NDArray[np.float32]] = []
        self._asked: list[tuple[int, NDArray[np.floating], NDArray[np.float64]]] = []

    def see(self, encoded: EncodedVideo, queries: Sequence[str]) -> None:
        """Take note of one video and of its sentences, in their order."""
        if self._shared is None:
            return
        for sentence in self._localizer.sentences.encode(queries):
            curve = cosine_curve(encoded.features, sentence.sentence, self._shared)
            self._asked.append((len(self._frames), sentence.sentence, curve))
        self._frames.append(encoded.features[:, self._shared.start : self._shared.stop])

    def found(self) -> tuple[list[float] | None, ReferenceFrames | None]:
        """The margin of every sentence, and the frames behind them; None without a basis."""
        if self._shared is None or not self._frames:
            return None, None
        asked = [sentence for _, sentence, _ in self._asked]
        if self._given is not None:
            given = self._given.fitted(asked)
            return self._measure([given] * len(self._frames)), given
        count = max(1, -(-_REFERENCE // len(self._frames)))
        drawn = [rows[_evenly(len(rows), count)] for rows in self._frames]
        owner = np.repeat(np.arange(len(drawn)), [len(rows) for rows in drawn])
        pool = np.concatenate(drawn)
        largest = max(len(rows) for rows in drawn)
        if len(pool) - largest < LEAST_REFERENCE:
            return None, None
        whole = ReferenceFrames.from_features(pool).fitted(asked)
        others = (
            ReferenceFrames.from_features(pool[owner != video]) for video in range(len(drawn))
        )
        return self._measure([replace(one, tail=whole.tail) for one in others]), whole

    def _measure(self, references: Sequence[ReferenceFrames]) -> list[float]:
        """The margin of every sentence, given what each video is compared with."""
        checks = [PresenceCheck(one, SHARE, None) for one in references]
        looks = [one.looks(rows) for one, rows in zip(references, self._frames, strict=True)]
        return [
            checks[video].margin(curve, sentence, looks[video])
            for video, sentence, curve in self._asked
        ]


def _evenly(length: int, count: int) -> NDArray[np.int64]:
    """Positions of at most so many of a video's frames, evenly spread."""
    return np.unique(np.linspace(0, length - 1, min(length, count)).round().astype(np.int64))


def _by_video(
    labelled: Sequence[LabelledQuery],
) -> Iterable[tuple[Path, Iterable[LabelledQuery]]]:
    return groupby(sorted(labelled, key=lambda one: one.video), key=lambda one: one.video)


def answer_files(path: Path) -> tuple[Path, Path]:
    """The file of answers, and the file of the reference frames beside it."""
    return path, path.with_suffix(_REFERENCE_SUFFIX)


def write_answers(found: Answers, path: Path) -> None:
    """Keep answers as JSON lines, so that scores can be calibrated again without the videos.

    Args:
        found: What a bundle answered; its reference frames go beside the file.
        path: The file to write.

    Raises:
        OutputError: It cannot be written, or another program's file is there.
    """
    for place in answer_files(path):
        check_report_file(place)
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in found.answers]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as draft:
            draft.writelines(f"{line}\n".encode() for line in lines)
        if found.reference is not None:
            with atomic_write(path.with_suffix(_REFERENCE_SUFFIX)) as draft:
                draft.write(found.reference.to_bytes())
    except OSError as error:
        raise OutputError(f"cannot write the answers: {error.strerror}", where=path) from error


def read_reference(path: Path) -> ReferenceFrames | None:
    """Read the reference frames beside kept answers; None where there are none.

    Args:
        path: The file of answers.

    Raises:
        BundleError: The file is something else.
    """
    file = path.with_suffix(_REFERENCE_SUFFIX)
    return ReferenceFrames.from_bytes(file.read_bytes()) if file.is_file() else None


def read_answers(path: Path) -> tuple[ScoredAnswer, ...]:
    """Read what ``write_answers`` kept.

    Args:
        path: The file of JSON lines.

    Raises:
        AnnotationError: A line is not an answer.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
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
