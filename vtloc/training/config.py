"""How long, how fast and on what to train; the paper's recipe is the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vtloc.errors import ConfigurationError

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import DecodingStrategy

Schedule = Literal["constant", "cosine"]
TrainingPrecision = Literal["auto", "fp32", "bf16"]
TrainingDecoding = Literal["joint", "argmax", "soft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """The training loop's configuration.

    Attributes:
        seed: Seed of the weights, the order and the dropout.
        epochs: Passes over the source at most.
        batch_size: Samples a step.
        learning_rate: Adam's, at its highest.
        weight_decay: Adam's.
        warmup_steps: Steps over which the learning rate rises from zero.
        schedule: ``constant``, or ``cosine`` down to zero at the last epoch.
        gradient_clip: Largest norm of the gradient; 0 clips nothing.
        patience: Epochs without a better validation mIoU before training stops.
        precision: ``auto`` is bfloat16 where a GPU has it, float32 elsewhere.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        decoding: How validation decodes.
    """

    seed: int = 0
    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    warmup_steps: int = 0
    schedule: Schedule = "constant"
    gradient_clip: float = 0.0
    patience: int = 10
    precision: TrainingPrecision = "auto"
    device: str = "auto"
    decoding: TrainingDecoding = "joint"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1", where="training")
        if not self.learning_rate > 0:
            raise ConfigurationError("learning_rate must be positive", where="training")
        for name in ("weight_decay", "warmup_steps", "gradient_clip", "seed"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} must not be negative", where="training")

    @property
    def strategy(self) -> DecodingStrategy:
        """How validation decodes, as `vtloc_runtime.localize.spans.decoding` names it."""
        return self.decoding
