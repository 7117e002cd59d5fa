"""Train a localizer on any source of samples, resumable to the bit.

The loop knows nothing of files: `train` takes a network, a `SampleSource` to learn
from and another to be judged by. A source that makes its samples up needs two methods::

    class Timelines:
        def __len__(self) -> int:
            return 6_400

        def epoch(self, number: int) -> Iterator[Sample]:
            chance = np.random.default_rng((self.seed, number))
            for index in range(len(self)):
                yield Sample.evenly(f"{number}-{index}", features, tokens, (Moment(3, 8, 1.0),))

    network = seeded_network(LocalizerConfig(feature_dim=384, token_dim=384), seed=0)
    result = train(network, Timelines(), held_out, folder=Path("runs/first"),
                   visual_encoder="efficientnet-lite0", text_encoder="minilm")
"""

from vtloc.training.config import TrainingConfig
from vtloc.training.loop import EpochReport, TrainingListener, TrainingResult, seeded_network, train

__all__ = [
    "EpochReport",
    "TrainingConfig",
    "TrainingListener",
    "TrainingResult",
    "seeded_network",
    "train",
]
