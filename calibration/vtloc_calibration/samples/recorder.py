"""Recording of the inputs of networks while the runtime works: a bounded random choice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.bundle.manifest import NETWORK_NAMES, NetworkName
from vtloc_runtime.networks.interface import WrappedNetwork

if TYPE_CHECKING:
    from vtloc_runtime.networks.interface import Array, Network


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to draw.

    Attributes:
        videos: Maximum number of videos.
        frames: Frames to keep at most, over all videos.
        frames_per_video: Frames to keep of one video at most.
        queries_per_video: Sentences to ask one video at most.
        calls: Calls of the text and of the localizer network to keep at most.
        rows: Rows of one localizer call to keep at most; each holds a whole video's features.
    """

    videos: int = 64
    frames: int = 256
    frames_per_video: int = 16
    queries_per_video: int = 8
    calls: int = 64
    rows: int = 4


class Recorder:
    """Keeps a bounded, seeded choice of the inputs it is shown, video by video.

    Args:
        amount: How much to keep.
        random: Draws the choice.
    """

    def __init__(self, amount: Amount, random: np.random.Generator) -> None:
        self._amount = amount
        self._random = random
        self._frames: list[Array] = []
        self._seen = 0
        self._pending: dict[NetworkName, list[Mapping[str, Array]]] = {}
        self._kept: dict[NetworkName, list[Mapping[str, Array]]] = {
            name: [] for name in NETWORK_NAMES
        }
        self._offered = dict.fromkeys(NETWORK_NAMES, 0)

    def see(self, network: NetworkName, inputs: Mapping[str, Array]) -> None:
        """Record the inputs of one call, arrays by name."""
        if network == "visual":
            for frame in inputs["frames"]:
                self._see_frame(frame)
            return
        rows = len(next(iter(inputs.values())))
        if network == "localizer" and rows > self._amount.rows:
            # Every row repeats the video's features: a few sentences stand for all.
            picked = np.sort(self._random.permutation(rows)[: self._amount.rows])
            inputs = {name: array[picked] for name, array in inputs.items()}
        copied = {name: np.array(array) for name, array in inputs.items()}
        self._pending.setdefault(network, []).append(copied)

    def _see_frame(self, frame: Array) -> None:
        # Algorithm R: every frame of the video has the same chance, however long it is.
        self._seen += 1
        if len(self._frames) < self._amount.frames_per_video:
            self._frames.append(np.array(frame)[None])
            return
        place = int(self._random.integers(self._seen))
        if place < len(self._frames):
            self._frames[place] = np.array(frame)[None]

    def drop_video(self) -> None:
        """Drop the inputs of a video that could not be read to its end."""
        self._frames, self._seen, self._pending = [], 0, {}

    def end_video(self) -> None:
        """Draw from the recorded inputs of a video that was read to its end."""
        for frame in self._frames:
            self._offer("visual", {"frames": frame}, self._amount.frames)
        for network, calls in self._pending.items():
            for call in calls:
                self._offer(network, call, self._amount.calls)
        self.drop_video()

    def _offer(self, network: NetworkName, call: Mapping[str, Array], limit: int) -> None:
        kept = self._kept[network]
        self._offered[network] += 1
        if len(kept) < limit:
            kept.append(call)
            return
        place = int(self._random.integers(self._offered[network]))
        if place < limit:
            kept[place] = call

    def calls(self) -> dict[NetworkName, tuple[Mapping[str, Array], ...]]:
        """The recorded calls of each network, inputs by name."""
        return {network: tuple(calls) for network, calls in self._kept.items()}


class RecordedNetwork(WrappedNetwork):
    """A network that shows its inputs to a recorder before it runs.

    Args:
        network: The network to run.
        recorder: Where the inputs go.
    """

    def __init__(self, network: Network, recorder: Recorder) -> None:
        super().__init__(network)
        self._recorder = recorder

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Record the inputs, then run the network."""
        for name in NETWORK_NAMES:
            if name == self.name:
                self._recorder.see(name, inputs)
        return self._network.run(inputs, outputs)
