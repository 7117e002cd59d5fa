"""The islands of a half-precision network: functions that compute in FP32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

MASKED = -30000.0
"""Added to the score of a key that must not be seen; finite, also in half precision."""


class Islands(TorchFunctionMode):
    """Computes in FP32 what half precision would overflow or round away.

    Attention is written out on the way, its softmax in FP32: exported as one operator it would
    hide its own precision. In an FP32 network nothing else changes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one PyTorch function, on an island where it needs one."""
        del types
        named = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention:
            return written_attention(*args, **named)
        if func not in _ISLANDS:
            return func(*args, **named)
        given = next(item for item in (*args, *named.values()) if isinstance(item, Tensor))
        result = func(*in_single(args), **in_single(named))
        return result.to(given.dtype) if given.dtype == torch.float16 else result


_ISLANDS: frozenset[Callable[..., Any]] = frozenset(
    {
        functional.layer_norm,
        functional.group_norm,
        functional.softmax,
        functional.normalize,
        functional.batch_norm,
        functional.adaptive_avg_pool2d,
        functional.avg_pool2d,
        torch.softmax,
        torch.layer_norm,
        torch.mean,
        torch.sum,
        torch.norm,
        torch.linalg.norm,
        torch.linalg.vector_norm,
        Tensor.softmax,
        Tensor.mean,
        Tensor.sum,
        Tensor.norm,
    }
)


def in_single(values: Any) -> Any:
    """Values in half precision as FP32, however they are nested; all others as they are."""
    if isinstance(values, Tensor):
        return values.float() if values.dtype == torch.float16 else values
    if isinstance(values, tuple):
        return tuple(in_single(value) for value in values)
    if isinstance(values, dict):
        return {name: in_single(value) for name, value in values.items()}
    return values


def written_attention(  # noqa: PLR0917 - the arguments of the function it stands in for
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **unused: object,
) -> Tensor:
    """Scaled dot-product attention from plain operations, its softmax in FP32.

    Args:
        query: [..., Q, D]; it is scaled before the product, which half precision then holds.
        key: [..., K, D].
        value: [..., K, D].
        attn_mask: Boolean (True is seen) or added to the scores.
        dropout_p: Ignored: an exported network does not train.
        is_causal: Whether position q sees only keys up to q.
        scale: What the query is multiplied by; one over the root of D by default.
        unused: Options of the fused function that change no number here.
    """
    del dropout_p, unused
    factor = query.shape[-1] ** -0.5 if scale is None else scale
    scores = ((query * factor) @ key.transpose(-1, -2)).float()
    if is_causal:
        rows = torch.arange(query.shape[-2], device=query.device)
        columns = torch.arange(key.shape[-2], device=query.device)
        scores = scores + torch.where(rows[:, None] >= columns[None, :], 0.0, MASKED)
    if attn_mask is not None:
        hidden = attn_mask.dtype == torch.bool
        added = torch.where(attn_mask, 0.0, MASKED) if hidden else attn_mask.float()
        scores = scores + added
    return torch.softmax(scores, dim=-1).to(value.dtype) @ value
