"""Attention written out, in place of PyTorch's fused module.

``nn.MultiheadAttention`` takes a native fast path in evaluation mode that no exporter sees
through, and its export fixes the number of tokens. The module below holds the same parameters
under the same names and computes the same numbers from plain operations.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from vtloc.errors import EncoderError


class WrittenAttention(nn.Module):
    """Multi-head attention with the parameters of an ``nn.MultiheadAttention``.

    Args:
        fused: The module to replace; batch first, one width for query, key and value.

    Raises:
        EncoderError: The module uses an option that is not written out here.
    """

    in_proj_weight: nn.Parameter
    in_proj_bias: nn.Parameter | None

    def __init__(self, fused: nn.MultiheadAttention) -> None:
        super().__init__()
        unusual = fused.bias_k is not None or fused.add_zero_attn or fused.in_proj_weight is None
        if unusual or not fused.batch_first:
            raise EncoderError(
                "its attention uses added keys, separate widths or sequence-first order",
                remedy="Use another encoder",
            )
        self.heads = fused.num_heads
        self.batch_first = True  # callers look it up
        self.in_proj_weight = fused.in_proj_weight
        self.in_proj_bias = fused.in_proj_bias
        self.out_proj = fused.out_proj

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        attn_mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query: [B, Q, D].
            key: [B, K, D].
            value: [B, K, D].
            attn_mask: Added to the scores, broadcastable to [B, heads, Q, K].
            need_weights: Taken for compatibility; weights are never returned.

        Returns:
            The attended values [B, Q, D], and None in the weights' place.
        """
        del need_weights
        if query is key and key is value:
            projected = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
            parts = projected.chunk(3, dim=-1)
        else:
            weights = self.in_proj_weight.chunk(3)
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            parts = tuple(
                functional.linear(source, weight, bias)
                for source, weight, bias in zip((query, key, value), weights, biases, strict=True)
            )
        query, key, value = (self._split(part) for part in parts)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=attn_mask)
        joined = attended.transpose(1, 2).flatten(2)
        return self.out_proj(joined), None

    def _split(self, states: Tensor) -> Tensor:
        batch, length, width = states.shape
        return states.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)


def write_out_attention(module: nn.Module) -> None:
    """Replace every ``nn.MultiheadAttention`` below ``module``, in place.

    Raises:
        EncoderError: One of them cannot be written out.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, nn.MultiheadAttention):
            setattr(module, name, WrittenAttention(child))
        else:
            write_out_attention(child)
