"""Half precision, declared in PyTorch: what runs in FP16, and the islands that stay in FP32.

TensorRT builds what the graph says and nothing else, so precision is decided here, before the
export, and checked in the exported graph node by node. Converting a finished FP32 graph would
decide it blindly: constants and position ids end up in half precision, norms overflow.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from vtloc_export.errors import ExportError

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import NetworkName

HALF_LIMIT = 65504.0
"""The largest number of half precision."""

MASKED = -30000.0
"""Added to the score of a key that must not be seen; finite, also in half precision."""


@dataclass(frozen=True, slots=True)
class PrecisionPolicy:
    """Which operators of a half-precision graph compute in what.

    An operator in neither set (Add, Mul, Where, Cast and the like) takes what it is given.

    Attributes:
        network: Whose policy this is.
        half: Operators that must compute in FP16: they hold the weights and the time.
        single: Operators that must compute in FP32: exponentials, sums and roots.
        single_weights: Names (with wildcards) of the only parameters that may stay FP32.
        spared: Modules that compute in FP32 altogether, as calibration chose them.
    """

    network: NetworkName
    half: frozenset[str]
    single: frozenset[str]
    single_weights: tuple[str, ...]
    spared: tuple[str, ...] = ()

    def sparing(self, modules: Sequence[str]) -> PrecisionPolicy:
        """The same policy, with some modules in FP32 altogether.

        Args:
            modules: Their names, as PyTorch has them.
        """
        weights = tuple(f".{module}.*" for module in modules)
        return replace(self, spared=tuple(modules), single_weights=(*self.single_weights, *weights))

    def spares(self, parameter: str) -> bool:
        """Whether a parameter belongs to a module that is spared."""
        return any(parameter.startswith(f"{module}.") for module in self.spared)


_PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "Gelu", "Relu"})
_SUMS = frozenset({"Softmax", "ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "Sqrt"})
_NORMS = frozenset({"LayerNormalization", "GroupNormalization", "Reciprocal"})

POLICIES: Mapping[NetworkName, PrecisionPolicy] = {
    # Pixels are scaled in FP32, for 1/255 has no exact half; everything else but norms and
    # softmax is half.
    "visual": PrecisionPolicy(
        "visual",
        half=_PRODUCTS,
        single=_SUMS | _NORMS,
        single_weights=("*.scale", "*.offset", "*norm*", "*ln_*"),
    ),
    # A transformer: softmax, layer norms, the mean over tokens and the sentence's length.
    "text": PrecisionPolicy(
        "text",
        half=_PRODUCTS,
        single=_SUMS | _NORMS,
        single_weights=("*[nN]orm*", "*ln_*"),
    ),
    # The islands of vtloc.model.fp32_ops (norms, softmax, squash, unit vectors, curves over the
    # whole video) and the positions: half precision cannot tell frame 2,049 from 2,048.
    "localizer": PrecisionPolicy(
        "localizer",
        half=_PRODUCTS,
        single=_SUMS | _NORMS | {"Sin", "Cos"},
        single_weights=("*norm*", "*.frequencies"),
    ),
}


class Islands(TorchFunctionMode):
    """Computes what half precision would overflow or round away in FP32, whoever calls it.

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
        result = func(*_single(args), **_single(named))
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


def _single(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.float() if values.dtype == torch.float16 else values
    if isinstance(values, tuple):
        return tuple(_single(value) for value in values)
    if isinstance(values, dict):
        return {name: _single(value) for name, value in values.items()}
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


class TypedNetwork(nn.Module):
    """A network in one precision, ready to be traced.

    Args:
        network: The PyTorch module.
        half: Whether it runs in half precision.
        policy: What stays FP32 in half precision.
    """

    def __init__(self, network: nn.Module, *, half: bool, policy: PrecisionPolicy) -> None:
        super().__init__()
        # A copy without the training flag: the caller's network keeps its own.
        self.network = copy.deepcopy(network).eval()
        self.half_precision = half
        if half:
            halve(self.network, policy)
            for name in policy.spared:
                _spare(self.network, name)
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the network; a floating input is cast to its precision outside."""
        with Islands():
            outputs = self.network(*inputs)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def halve(network: nn.Module, policy: PrecisionPolicy) -> None:
    """Cast parameters and buffers to half precision, but for the policy's, in place."""
    for prefix, module in network.named_modules():
        for tensors in (module._parameters, module._buffers):
            owned = cast("dict[str, Tensor | None]", tensors)
            for name, tensor in owned.items():
                if tensor is None or not tensor.is_floating_point():
                    continue
                if not stays_single(f"{prefix}.{name}", policy):
                    replaced = tensor.detach().half()
                    is_parameter = isinstance(tensor, nn.Parameter)
                    owned[name] = (
                        nn.Parameter(replaced, requires_grad=False) if is_parameter else replaced
                    )


def _spare(network: nn.Module, name: str) -> None:
    """Let a module compute in FP32 between neighbours in half precision, in place."""
    module = dict(network.named_modules()).get(name)
    if not name or module is None:
        raise ExportError(
            f"{name!r} is not a separate module, so it cannot stay in FP32",
            remedy="Choose islands again with: vtloc-calibrate sensitivity --precision fp16",
        )
    module.register_forward_pre_hook(
        lambda _module, values, named: (_single(values), _single(named)), with_kwargs=True
    )
    module.register_forward_hook(lambda _module, _values, result: _halved(result))


def _halved(values: Any) -> Any:
    if isinstance(values, Tensor):
        return values.half() if values.dtype == torch.float32 else values
    if isinstance(values, tuple):
        return tuple(_halved(value) for value in values)
    return values


def stays_single(name: str, policy: PrecisionPolicy) -> bool:
    """Whether the policy keeps the parameter of that name in FP32."""
    dotted = name if name.startswith(".") else f".{name}"
    return any(fnmatchcase(dotted, pattern) for pattern in policy.single_weights)
