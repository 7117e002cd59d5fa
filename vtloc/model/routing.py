"""Capsule alignment by dynamic routing, equations (7) to (11).

As printed, routing cannot see the sentence: votes do not depend on the token, logits start at
zero, and the agreement (11) adds the same number for every frame, so every frame couples alike
and another sentence changes nothing. The default ``sentence`` agreement mends that and nothing
else: logits start at the fit of vote and token, and the agreement holds a frame's vote against
what the token's capsule gathered *and* the token itself. ``printed`` and ``votes`` (the classic
agreement of vote and capsule) stay selectable for study.

So do two other readings of what a coupling shares out. (8) sums over tokens: a frame goes to the
tokens in parts that sum to one, even a frame that shows none of them. ``frames`` sums over the
frames: a token picks those that show it, as attention would. ``independent`` sums over nothing
(a sigmoid): many frames go with many tokens, and some with none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from vtloc.model.fp32_ops import masked_softmax, squash

if TYPE_CHECKING:
    from vtloc.model.config import Agreement, Coupling


@dataclass(frozen=True, slots=True)
class Routing:
    """What routing found.

    Attributes:
        capsules: v_j, one vector a capsule and token: [B, capsules, N, capsule_dim].
        coupling: c_ij of the last iteration: [B, capsules, T, N], zero on padding. It sums to
            one over the tokens of a frame, over the frames of a token, or over neither.
        alignment: A, the coupling's mean over the capsules: [B, N, T].
        read_back: Each frame's mixture of the capsules it couples with: [B, T, hidden].
        memory: Each token's capsules in the hidden width: [B, N, hidden].
    """

    capsules: Tensor
    coupling: Tensor
    alignment: Tensor
    read_back: Tensor
    memory: Tensor


class CapsuleRouting(nn.Module):
    """Routes frames to tokens, in several capsules at once.

    Args:
        width: Channels of frames and tokens.
        capsules: How many capsules route side by side, each with votes of its own.
        capsule_dim: Width of a vote.
        iterations: R, unrolled.
        agreement: How logits grow; see the module.
        coupling: What couplings share out; see the module.
    """

    def __init__(
        self,
        width: int,
        *,
        capsules: int,
        capsule_dim: int,
        iterations: int,
        agreement: Agreement,
        coupling: Coupling = "tokens",
    ) -> None:
        super().__init__()
        self.capsules = capsules
        self.capsule_dim = capsule_dim
        self.iterations = iterations
        self.agreement = agreement
        self.coupling = coupling
        self.vote = nn.Linear(width, capsules * capsule_dim)
        self.key = nn.Linear(width, capsules * capsule_dim)
        self.output = nn.Linear(capsules * capsule_dim, width)

    def forward(
        self, frames: Tensor, frame_mask: Tensor, tokens: Tensor, token_mask: Tensor
    ) -> Routing:
        """Route.

        Args:
            frames: [B, T, width].
            frame_mask: [B, T], true for real frames.
            tokens: [B, N, width].
            token_mask: [B, N], true for real tokens.
        """
        votes = self._split(self.vote(frames))  # (7) [B, K, T, D]
        keys = self._split(self.key(tokens))  # [B, K, N, D]
        pairs = frame_mask[:, None, :, None] & token_mask[:, None, None, :]
        scale = self.capsule_dim**-0.5

        fit = torch.matmul(votes * scale, keys.transpose(-1, -2))
        logits = fit if self.agreement == "sentence" else torch.zeros_like(fit)
        coupling, gathered = self._couple(logits, votes, pairs)
        for _ in range(self.iterations - 1):
            logits = logits + self._agree(votes * scale, keys, gathered, fit)
            coupling, gathered = self._couple(logits, votes, pairs)

        real_keys = token_mask[:, None, :, None].to(gathered.dtype)
        gathered = gathered * real_keys
        # A frame takes back what its tokens hold: what was gathered, and the tokens.
        shares = self._shares(coupling, frame_mask, token_mask)
        mixture = torch.matmul(shares, gathered + keys * real_keys)
        return Routing(
            capsules=gathered,
            coupling=coupling,
            alignment=coupling.mean(dim=1).transpose(1, 2),
            read_back=self.output(self._merge(mixture)),
            memory=self.output(self._merge(gathered)),
        )

    def _couple(self, logits: Tensor, votes: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        if self.coupling == "tokens":
            coupling = masked_softmax(logits, pairs)  # (8)
        elif self.coupling == "frames":
            over_frames = masked_softmax(logits.transpose(-1, -2), pairs.transpose(-1, -2))
            coupling = over_frames.transpose(-1, -2)
        else:
            coupling = torch.sigmoid(logits)
        coupling = coupling * pairs.to(votes.dtype)
        summed = torch.matmul(coupling.transpose(-1, -2), votes)  # (9)
        return coupling, squash(summed)  # (10)

    def _shares(self, coupling: Tensor, frame_mask: Tensor, token_mask: Tensor) -> Tensor:
        """Couplings at the size that (8) gives them: on average, one over the tokens or less."""
        if self.coupling == "tokens":
            return coupling
        tokens = token_mask.float().sum(dim=1).clamp(min=1)
        if self.coupling == "independent":
            share = 1 / tokens
        else:
            share = frame_mask.float().sum(dim=1) / tokens
        return (coupling.float() * share[:, None, None, None]).to(coupling.dtype)

    def _agree(self, votes: Tensor, keys: Tensor, gathered: Tensor, fit: Tensor) -> Tensor:
        if self.agreement == "printed":  # (11): no frame in it
            return (gathered * keys).sum(dim=-1).unsqueeze(-2)
        agreement = torch.matmul(votes, gathered.transpose(-1, -2))
        return agreement + fit if self.agreement == "sentence" else agreement

    def _split(self, values: Tensor) -> Tensor:
        return torch.unflatten(values, -1, (self.capsules, self.capsule_dim)).transpose(1, 2)

    @staticmethod
    def _merge(values: Tensor) -> Tensor:
        return values.transpose(1, 2).flatten(2)
