"""Where each frame says that a moment begins or ends: the localizer network, window by window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.localize.windows import Timeline, plan_windows
from vtloc_runtime.networks.interface import check_finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from vtloc_runtime.bundle.manifest import Windows
    from vtloc_runtime.localize.encoded_video import FrameFeatures
    from vtloc_runtime.localize.text_encoder import EncodedSentence
    from vtloc_runtime.networks.interface import Network

_SENTENCES_AT_ONCE = 32


class BoundaryLogits:
    """Runs the localizer network over videos of any length; safe to call from several threads.

    Args:
        network: The localizer network.
        windows: How a video longer than a window is cut; the network's own limits hold as well.
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
        return self._network.inputs["features"].batch(_SENTENCES_AT_ONCE)

    def of(
        self, features: FrameFeatures | NDArray[np.floating], sentences: Sequence[EncodedSentence]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Start and end logits of a whole video.

        Args:
            features: ``[T, Dv]``.
            sentences: At most ``rows`` of them.

        Returns:
            ``[sentences, T]`` each.

        Raises:
            NetworkError: The network failed, or gave logits that are not finite.
        """
        inputs = self._network.inputs
        tokens, token_mask = _side_by_side(sentences, inputs["tokens"].dtype)
        windows = plan_windows(len(features), frames=self._frames, overlap=self._overlap)
        timeline = Timeline(windows, len(sentences))
        for index, window in enumerate(windows):
            part = features[window.start : window.stop].astype(inputs["features"].dtype, copy=False)
            result = self._network.run(
                {
                    # One row for all sentences: a GPU is sent the features once.
                    "features": np.broadcast_to(part, (len(sentences), *part.shape)),
                    "frame_mask": np.ones((len(sentences), len(window)), dtype=bool),
                    "tokens": tokens,
                    "token_mask": token_mask,
                }
            )
            logits = result["start_logits"], result["end_logits"]
            for one in logits:
                if one.shape != (len(sentences), len(window)):
                    raise NetworkError(
                        f"{len(window)} frames gave logits of the shape {one.shape}",
                        where=self._network.name,
                    )
                check_finite(one, what="logits", network=self._network.name)
            timeline.add(index, *(one.astype(np.float64) for one in logits))
        return timeline.logits()


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
