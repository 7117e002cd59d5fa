"""The localizer network: the paper's parts, a module each, and their checkpoints."""

from vtloc.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vtloc.model.config import LocalizerConfig
from vtloc.model.localizer import LocalizerNetwork, LocalizerOutput
from vtloc.model.losses import LossConfig, Targets, total_loss

__all__ = [
    "Checkpoint",
    "LocalizerConfig",
    "LocalizerNetwork",
    "LocalizerOutput",
    "LossConfig",
    "Targets",
    "load_checkpoint",
    "save_checkpoint",
    "total_loss",
]
