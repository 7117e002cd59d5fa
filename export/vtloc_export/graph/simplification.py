"""Exact rewriting of a freshly traced graph.

The exporter's own optimizer also drops "no-ops": additions of zero, products with one. It calls a
constant zero below 1e-8, so ``x + 1e-12``, which keeps a zero vector's length from dividing by
zero, vanishes, and padding turns into NaN. The rules here are exact ones only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir

_ROUNDS = 2


def simplify(model: onnx_ir.Model) -> None:
    """Fold constants and undo the exporter's detours, in place; no value changes.

    Args:
        model: The graph as it was traced.
    """
    import onnx_ir.passes.common as passes
    from onnxscript import optimizer, rewriter

    untyped: Any = optimizer
    passes.InlinePass()(model)
    for _ in range(_ROUNDS):
        untyped.fold_constants(model)
        rewriter.rewrite(model, _exact_rules())
    for step in (
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.LiftSubgraphInitializersToMainGraphPass(),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.OutputFixPass(),
        passes.NameFixPass(),
    ):
        step(model)


def _exact_rules() -> list[Any]:
    from onnxscript.rewriter.rules import common

    return [
        common.no_op_cast_rule,
        common.no_op_expand_rule,
        common.no_op_transpose_rule,
        common.transpose_transpose_rule,
        common.reshape_reshape_rule,
        common.unsqueeze_unsqueeze_rule,
        common.squeeze_reshape_1d_rule,
        common.collapse_slice_rule,
        common.collapse_slice2_rule,
        common.materialize_reshape_shape_rule,
        common.one_reshape_matmul_reshape_rule,
        common.two_reshapes_matmul_reshape_rule,
        common.cast_constant_of_shape_rule,
        common.cast_constant_of_shape_without_value_rule,
        common.min_max_rule,
        common.max_min_rule,
        common.fuse_pad_into_conv_rule,
        common.fuse_batchnorm_into_conv_rule,
        common.fuse_batchnorm_into_gemm_rule,
    ]
