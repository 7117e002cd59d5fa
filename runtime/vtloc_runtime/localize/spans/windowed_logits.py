"""Where each frame says that a moment begins or ends: the localizer network, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.spans.moments import Alignment
from vtloc_runtime.localize.spans.windows import Timeline, plan_windows
from vtloc_runtime.networks.interface import check_finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import Windows
    from vtloc_runtime.localize.encoding.encoded_video import FrameFeatures
    from vtloc_runtime.localize.questions.text_encoder import EncodedSentence
    from vtloc_runtime.networks.interface import Network

SENTENCES_AT_ONCE = 32
"""Sentences that are answered together at most."""


@dataclass(frozen=True, slots=True)
class FrameLogits:
    """What the localizer network says of every frame of a video, for several sentences.

    Attributes:
        starts: ``[S, T]``, how likely a moment begins at each frame.
        ends: ``[S, T]``, how likely it ends there.
        alignment: ``[S, N, T]``, how much each token has to do with each frame; N counts the
            tokens of the longest sentence. None where it was not asked for.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    alignment: NDArray[np.float32] | None = None


class BoundaryLogits:
    """Runs the localizer network over videos of any length; safe to call from several threads.

    The network sees as many frames at once as in its training. Where a window is to reach
    further, it holds every second or further frame, and the frames between get windows of their
    own.

    Args:
        network: The localizer network.
        windows: How many frames it sees at once; the network's own limits hold as well.
    """

    def __init__(self, network: Network, windows: Windows) -> None:
        self._network = network
        self._frames = windows.frames
        longest = network.inputs["features"].longest(1)
        if longest is not None:
            self._frames = min(self._frames, longest)
        self._overlap = min(windows.overlap, self._frames // 2)

    @property
    def rows(self) -> int:
        """Sentences that one call takes at most."""
        return self._network.inputs["features"].batch(SENTENCES_AT_ONCE)

    def compute(
        self,
        features: FrameFeatures | NDArray[np.floating],
        sentences: Sequence[EncodedSentence],
        *,
        reach: int | None = None,
        alignment: bool = False,
    ) -> FrameLogits:
        """What the network says of a whole video.

        Args:
            features: ``[T, Dv]``.
            sentences: At most ``rows`` of them.
            reach: Frames of the video that a window spans; None: as many as it holds.
            alignment: Whether to keep the alignment, too.

        Raises:
            NetworkError: The network failed, has no alignment, or gave values that are not finite.
        """
        inputs = self._network.inputs
        tokens, token_mask = _side_by_side(sentences, inputs["tokens"].dtype)
        dtype = inputs["features"].dtype
        length, rows = len(features), len(sentences)
        names = ["start_logits", "end_logits", *(["alignment"] if alignment else [])]
        whole = {
            name: np.empty((rows, *(tokens.shape[1:2] if name == "alignment" else ()), length))
            for name in names
        }
        step = -(-min(length, reach or self._frames) // self._frames)
        for phase in range(step):
            places = range(phase, length, step)
            windows = plan_windows(len(places), frames=self._frames, overlap=self._overlap)
            timelines = {
                name: Timeline(windows, values.shape[:-1]) for name, values in whole.items()
            }
            last, found = None, {}
            for index, window in enumerate(windows):
                part = places[window.start : window.stop]
                seen = features[part.start : part.stop : step].astype(dtype, copy=False)
                # A picture that stays on screen for hours fills window after window.
                if last is None or not _equal(seen, last):
                    found, last = self._run(seen, tokens, token_mask, names), seen
                for name, timeline in timelines.items():
                    timeline.add(index, found[name])
            for name, timeline in timelines.items():
                whole[name][..., phase::step] = timeline.values()
        aligned = whole["alignment"].astype(np.float32) if alignment else None
        return FrameLogits(whole["start_logits"], whole["end_logits"], aligned)

    def of_wordings(
        self,
        features: FrameFeatures | NDArray[np.floating],
        questions: Sequence[Sequence[EncodedSentence]],
        *,
        reach: int | None = None,
        alignment: bool = False,
    ) -> list[FrameLogits | None]:
        """What the network says of a whole video to questions in several wordings.

        Args:
            features: ``[T, Dv]``.
            questions: The wordings of each; None comes back for one that has none.
            reach: As for :meth:`of`.
            alignment: As for :meth:`of`.

        Returns:
            One row each: the mean of the wordings' logits, and the alignment of the first one.

        Raises:
            NetworkError: As for :meth:`of`.
        """
        sentences = [sentence for wordings in questions for sentence in wordings]
        rows: list[FrameLogits] = []
        for top in range(0, len(sentences), self.rows):
            part = self.compute(
                features, sentences[top : top + self.rows], reach=reach, alignment=alignment
            )
            rows += (
                FrameLogits(
                    starts,
                    ends,
                    None if part.alignment is None else part.alignment[row],
                )
                for row, (starts, ends) in enumerate(zip(part.starts, part.ends, strict=True))
            )
        remaining = iter(rows)
        found: list[FrameLogits | None] = []
        for wordings in questions:
            own = [next(remaining) for _ in wordings]
            found.append(
                FrameLogits(
                    np.mean([one.starts for one in own], axis=0, keepdims=True),
                    np.mean([one.ends for one in own], axis=0, keepdims=True),
                    None if own[0].alignment is None else own[0].alignment[None],
                )
                if own
                else None
            )
        return found

    def _run(
        self,
        seen: NDArray[Any],
        tokens: NDArray[Any],
        token_mask: NDArray[np.bool_],
        names: list[str],
    ) -> dict[str, NDArray[np.float64]]:
        """What the network says of one window, for all sentences; ``[rows, ..., frames]`` each."""
        rows = len(tokens)
        result = self._network.run(
            {
                # One row for all sentences: a GPU is sent the features once.
                "features": np.broadcast_to(seen, (rows, *seen.shape)),
                "frame_mask": np.ones((rows, len(seen)), dtype=bool),
                "tokens": tokens,
                "token_mask": token_mask,
            },
            names,
        )
        frames = (rows, len(seen))
        shapes = {"alignment": (rows, tokens.shape[1], len(seen))}
        return {name: self._output(result, name, shapes.get(name, frames)) for name in names}

    def _output(
        self, result: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]
    ) -> NDArray[np.float64]:
        if name not in result:
            raise NetworkError(
                f"the localizer network gives no {name}",
                where=self._network.name,
                remedy="Export the bundle again, or do not ask for it",
            )
        values = result[name]
        if values.shape != shape:
            raise NetworkError(
                f"{shape[-1]} frames gave {name} of the shape {values.shape}, not {shape}",
                where=self._network.name,
            )
        check_finite(values, what=f"numbers of {name}", network=self._network.name)
        return values.astype(np.float64)


def word_alignment(
    logits: FrameLogits, row: int, sentence: EncodedSentence, times: NDArray[np.float64]
) -> Alignment | None:
    """The alignment of one sentence, its tokens gathered into words; None where there is none.

    Args:
        logits: What the network said.
        row: Which of its sentences.
        sentence: The same sentence.
        times: ``[T]``, when each frame came on screen, seconds.
    """
    if logits.alignment is None:
        return None
    weights = np.zeros((len(sentence.words), len(times)), dtype=np.float32)
    for token, word in enumerate(sentence.word_of):
        if word >= 0:
            weights[word] += logits.alignment[row, token]
    return Alignment(sentence.words, times, weights)


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Whether two windows hold the same frames; the first frame mostly tells."""
    return np.array_equal(one[0], other[0]) and np.array_equal(one, other)


def _side_by_side(
    sentences: Sequence[EncodedSentence], dtype: str
) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Tokens ``[sentences, N, Dt]``, padded to the longest, and which of them are real."""
    longest = max(len(sentence.tokens) for sentence in sentences)
    tokens = np.zeros((len(sentences), longest, sentences[0].tokens.shape[1]), dtype=dtype)
    real = np.zeros((len(sentences), longest), dtype=bool)
    for row, sentence in enumerate(sentences):
        tokens[row, : len(sentence.tokens)] = sentence.tokens
        real[row, : len(sentence.tokens)] = True
    return tokens, real
