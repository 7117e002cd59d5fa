"""Half precision, declared in PyTorch: what runs in FP16, and the islands that stay in FP32.

TensorRT builds what the graph says and nothing else, so precision is decided here, before the
export, and checked in the exported graph node by node. Converting a finished FP32 graph would
decide it blindly: constants and position ids end up in half precision, norms overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import NetworkName

HALF_LIMIT = 65504.0
"""The largest number of half precision."""


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


def stays_single(name: str, policy: PrecisionPolicy) -> bool:
    """Whether the policy keeps the parameter of that name in FP32."""
    dotted = name if name.startswith(".") else f".{name}"
    return any(fnmatchcase(dotted, pattern) for pattern in policy.single_weights)
