"""``vtloc ablate``: which features each arm of a table is trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vtloc.features.sources import open_frames, open_tokens
from vtloc.training.ablation import Arm, ArmData
from vtloc.training.experiment import Experiment, gather, localizer_config
from vtloc_runtime.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vtloc.annotations import Split

DEFAULT = ""
"""Label of features that were given without one."""


@dataclass(frozen=True, slots=True)
class ArmFeatures:
    """Features by label, as the command line gives them.

    Attributes:
        frames: Frame features.
        tokens: Token features.
        frames_per_second: Rate of frame features made elsewhere.
    """

    frames: dict[str, Path]
    tokens: dict[str, Path]
    frames_per_second: float | None

    @classmethod
    def parse(
        cls, frames: Sequence[str], tokens: Sequence[str], frames_per_second: float | None
    ) -> ArmFeatures:
        """Read ``PATH`` and ``LABEL=PATH``."""
        return cls(_labelled(frames), _labelled(tokens), frames_per_second)

    def first_frames(self) -> list[Path]:
        """The default frame features, or any: the experiment needs some to be whole."""
        return [self.frames.get(DEFAULT, path) for path in self.frames.values()][:1]

    def first_tokens(self) -> Path | None:
        """The default token features, or any."""
        return next((self.tokens.get(DEFAULT, path) for path in self.tokens.values()), None)

    def prepare(self, arm: Arm, experiment: Experiment) -> tuple[ArmData, Split] | None:
        """An arm's data and validation split; None where its features were not given.

        Raises:
            ConfigurationError: The experiment names no data.
            VtlocError: As `vtloc.training.experiment.gather` says.
        """
        if experiment.data is None:
            raise ConfigurationError(
                "no data is named",
                remedy="Give --train, --validation, --frames and --tokens, or a configuration",
            )
        data = experiment.data
        if (arm.frames is not None and arm.frames not in self.frames) or (
            arm.tokens is not None and arm.tokens not in self.tokens
        ):
            return None
        frames = None
        if arm.frames is not None:
            frames = open_frames(self.frames[arm.frames], frames_per_second=self.frames_per_second)
        tokens = None if arm.tokens is None else open_tokens(self.tokens[arm.tokens])
        base = gather(data, seed=0, frames=frames, tokens=tokens)
        prepared = ArmData(
            source=base.train.reseeded,
            validation=base.validation,
            test=base.validation,
            localizer=lambda fields: localizer_config(
                {**experiment.localizer, **fields}, base.frames, base.tokens
            ),
            visual_encoder=base.frames.encoder,
            text_encoder=base.tokens.encoder,
        )
        return prepared, base.split


def _labelled(entries: Sequence[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for entry in entries:
        label, separator, path = entry.partition("=")
        found[label if separator else DEFAULT] = Path(path if separator else label)
    return found
