"""What training minimizes: equations (12) and (16) to (19)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from vtloc.errors import ConfigurationError
from vtloc.model.fp32_ops import MASKED, unit_vectors

if TYPE_CHECKING:
    from vtloc.model.localizer import LocalizerStates


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Weights and widths of the losses; the defaults are the paper's where it gives any.

    Attributes:
        localization_weight: lambda_loc.
        alignment_weight: lambda_align.
        diversity_weight: lambda_div.
        diversity_from_epoch: First epoch, counted from zero, with the diversity loss.
        temperature: tau of the contrastive loss.
        sigma: Spread of the smoothed targets, frames. The paper's 0.1 is 0.1 of a frame at one
            frame a second, which smooths nothing.
    """

    localization_weight: float = 1.0
    alignment_weight: float = 0.5
    diversity_weight: float = 0.1
    diversity_from_epoch: int = 10
    temperature: float = 0.07
    sigma: float = 1.0

    def __post_init__(self) -> None:
        for name in ("localization_weight", "alignment_weight", "diversity_weight"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"{name} must not be negative", where="losses")
        if self.temperature <= 0 or self.sigma <= 0:
            raise ConfigurationError("temperature and sigma must be positive", where="losses")
        if self.diversity_from_epoch < 0:
            raise ConfigurationError("diversity_from_epoch must not be negative", where="losses")


@dataclass(frozen=True, slots=True)
class Targets:
    """What the logits of a batch should have been.

    Attributes:
        start: Smoothed, [B, T] float in 0..1; all zero where the video holds no such moment.
        end: Likewise.
        inside: [B, T] bool, true for the frames of the moments.
    """

    start: Tensor
    end: Tensor
    inside: Tensor


@dataclass(frozen=True, slots=True)
class Losses:
    """The terms of (16), each a scalar.

    Attributes:
        total: Their weighted sum, which is minimized.
        localization: (17).
        alignment: (18).
        diversity: (19), which repeats (12).
    """

    total: Tensor
    localization: Tensor
    alignment: Tensor
    diversity: Tensor


def smooth_boundaries(boundaries: Tensor, present: Tensor, frames: int, sigma: float) -> Tensor:
    """Gaussian bumps of height one around boundary frames.

    Args:
        boundaries: Frame indices, [B, M]; several moments a query give several bumps.
        present: [B, M] bool, false where a query has fewer moments than M.
        frames: T.
        sigma: Spread, frames.

    Returns:
        [B, T] float32: at each frame the highest bump.
    """
    index = torch.arange(frames, device=boundaries.device)
    distance = (index - boundaries.unsqueeze(-1)).float() / sigma
    bumps = torch.exp(-0.5 * distance.square()) * present.unsqueeze(-1)
    return bumps.amax(dim=1)


def localization_loss(
    start_logits: Tensor, end_logits: Tensor, targets: Targets, frame_mask: Tensor
) -> Tensor:
    """Equation (17): cross-entropy of start and end, over real frames, mean over the batch."""
    real = frame_mask.float()
    count = real.sum(dim=1).clamp(min=1)
    loss = torch.zeros((), device=start_logits.device)
    for logits, target in ((start_logits, targets.start), (end_logits, targets.end)):
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        loss = loss + ((entropy * real).sum(dim=1) / count).mean()
    return loss


def alignment_loss(frames: Tensor, inside: Tensor, sentence: Tensor, temperature: float) -> Tensor:
    """Equation (18): each sentence should know its own moment among the batch's.

    Args:
        frames: [B, T, width].
        inside: [B, T] bool, the frames of each moment; queries without any take no part.
        sentence: [B, width].
        temperature: tau.
    """
    weights = inside.float()
    pooled = torch.matmul(weights.unsqueeze(1), frames.float()).squeeze(1)
    answered = inside.any(dim=1)
    similarity = unit_vectors(sentence.float()) @ unit_vectors(pooled).T / temperature
    similarity = torch.where(answered.unsqueeze(0), similarity, MASKED)
    own = torch.diagonal(functional.log_softmax(similarity, dim=1))
    share = answered.float()
    return -(own * share).sum() / share.sum().clamp(min=1)


def diversity_loss(capsules: Tensor, token_mask: Tensor) -> Tensor:
    """Equations (12) and (19): capsules should not point the same way.

    Args:
        capsules: v_j, [B, capsules, N, capsule_dim]; each capsule is its mean over the tokens.
        token_mask: [B, N].

    Returns:
        The sum of ``|v_i . v_j|`` over pairs of different capsules, mean over the batch.
    """
    weights = token_mask.float()
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)
    pooled = (capsules.float() * weights[:, None, :, None]).sum(dim=2)
    products = torch.matmul(pooled, pooled.transpose(1, 2)).abs()
    every = products.sum(dim=(1, 2))
    own = torch.diagonal(products, dim1=1, dim2=2).sum(dim=1)
    return (every - own).mean()


def total_loss(
    states: LocalizerStates,
    targets: Targets,
    frame_mask: Tensor,
    token_mask: Tensor,
    *,
    config: LossConfig,
    epoch: int,
) -> Losses:
    """Equation (16), with the diversity term from its epoch on."""
    output = states.output
    localization = localization_loss(output.start_logits, output.end_logits, targets, frame_mask)
    alignment = alignment_loss(states.frames, targets.inside, states.sentence, config.temperature)
    if states.capsules is None or epoch < config.diversity_from_epoch:
        diversity = torch.zeros_like(localization)
    else:
        diversity = diversity_loss(states.capsules, token_mask)
    total = (
        config.localization_weight * localization
        + config.alignment_weight * alignment
        + config.diversity_weight * diversity
    )
    return Losses(total, localization, alignment, diversity)
