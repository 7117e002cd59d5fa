"""Reading an ONNX graph: types of tensors, and the PyTorch module of each node.

A node belongs to the module whose parameters it holds; one without parameters belongs to the
module that its first input comes from. Names are those of the PyTorch modules, cut after the
first number, so that the layers of a tower are one module each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from vtloc_export.graph.compact_weights import INT8_SUFFIX
from vtloc_runtime.errors import BundleError, MissingExtraError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.bundle.manifest import NetworkName

PRODUCTS = frozenset({"Conv", "MatMul", "Gemm"})
"""The operators that hold the weights and the time."""

FLOAT, FLOAT16 = 1, 10
"""ONNX's numbers of the two floating types that networks compute in."""

_INPUT = "input"


def load_graph(content: bytes, *, where: object = None) -> ModelProto:
    """A graph from its file's bytes, every node named, every type inferred.

    Args:
        content: The ONNX file.
        where: Where it came from, for messages.

    Raises:
        BundleError: The bytes are not an ONNX graph.
        MissingExtraError: The package onnx is not installed.
    """
    try:
        import onnx
        from onnx import shape_inference
    except ImportError as error:
        raise MissingExtraError.for_package(
            "onnx", extra="calibration", purpose="calibration"
        ) from error
    try:
        model = shape_inference.infer_shapes(onnx.load_from_string(content))
    except Exception as error:
        raise BundleError(f"the file is not a valid ONNX graph: {error}", where=where) from error
    taken = {node.name for node in model.graph.node}
    for index, node in enumerate(model.graph.node):
        if not node.name:
            node.name = _unused(f"{node.op_type}_{index}", taken)
    return model


def element_types(model: ModelProto) -> dict[str, int]:
    """ONNX's number of the type of every tensor whose type is known."""
    graph = model.graph
    found = {initializer.name: initializer.data_type for initializer in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        found[value.name] = value.type.tensor_type.elem_type
    return found


def module_of_nodes(model: ModelProto) -> dict[str, str]:
    """The module of every node, by the node's name, in the graph's order."""
    parameters = {
        initializer.name
        for initializer in model.graph.initializer
        if _is_parameter(initializer.name)
    }
    made_by: dict[str, str] = {}
    found: dict[str, str] = {}
    for node in model.graph.node:
        own = [name for name in node.input if name in parameters]
        inherited = [made_by[name] for name in node.input if name in made_by]
        module = module_name(own[0]) if own else (inherited[0] if inherited else _INPUT)
        found[node.name] = module
        made_by.update(dict.fromkeys(node.output, module))
    return found


def module_name(parameter: str) -> str:
    """The module that a parameter belongs to, as policies name it.

    Args:
        parameter: ``network.blocks.3.expand.convolution.weight`` gives ``network.blocks.3``;
            ``routing.vote.weight.transposed`` gives ``routing.vote``.
    """
    parts = parameter.removesuffix(".transposed").split(".")
    for index, part in enumerate(parts[:-1]):
        if part.isdigit():
            return ".".join(parts[: index + 1])
    return ".".join(parts[:-1]) or parameter


def products(model: ModelProto) -> tuple[NodeProto, ...]:
    """The nodes that INT8 can serve: convolutions and matrix products of floating tensors."""
    types = element_types(model)
    return tuple(
        node
        for node in model.graph.node
        if node.op_type in PRODUCTS and types.get(node.input[0], FLOAT) in {FLOAT, FLOAT16}
    )


def grouped(nodes: Iterable[str], modules: dict[str, str]) -> dict[str, frozenset[str]]:
    """Nodes by their module, in the graph's order.

    Args:
        nodes: Names of nodes.
        modules: The module of every node.
    """
    found: dict[str, set[str]] = {}
    for name in nodes:
        found.setdefault(modules[name], set()).add(name)
    return {module: frozenset(members) for module, members in found.items()}


def unused_names(model: ModelProto) -> Iterator[str]:
    """An endless stream of names that no tensor or node of the graph has."""
    taken = {name for node in model.graph.node for name in (node.name, *node.output)}
    taken.update(value.name for value in (*model.graph.initializer, *model.graph.input))
    index = 0
    while True:
        index += 1
        yield _unused(f"calibrated_{index}", taken)


def _is_parameter(name: str) -> bool:
    # Constants that the exporter made up are numbered: val_12.
    return not name.startswith("val_")


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def widen_constants(model: ModelProto) -> None:
    """Fold casts and products of constants into FP32 constants, in place.

    The precision that ships stores its weights small and widens them by such nodes; afterwards
    the weights are constants in FP32 again, under the names that PyTorch gives them.
    """
    from onnx import numpy_helper

    _widen_before_look_ups(model)
    constants = {initializer.name: initializer for initializer in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        known = [constants[name] for name in node.input if name in constants]
        if node.op_type not in {"Cast", "Mul"} or len(known) != len(node.input):
            kept.append(node)
            continue
        arrays = [numpy_helper.to_array(tensor) for tensor in known]
        if node.op_type == "Cast":
            kind = next(attribute.i for attribute in node.attribute if attribute.name == "to")
            if kind != FLOAT:
                kept.append(node)
                continue
            wide = arrays[0].astype("float32")
        else:
            wide = arrays[0] * arrays[1]
        constants[node.output[0]] = numpy_helper.from_array(wide, node.output[0])
    del model.graph.node[:]
    model.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    used.update(value.name for value in model.graph.output)
    del model.graph.initializer[:]
    model.graph.initializer.extend(
        initializer for name, initializer in constants.items() if name in used
    )


def _widen_before_look_ups(model: ModelProto) -> None:
    """Look rows up in widened tables, where a graph widens the rows that it has looked up."""
    from onnx import helper

    makers = {output: node for node in model.graph.node for output in node.output}
    kept: list[NodeProto] = []
    tables: set[str] = set()
    replaced: set[str] = set()
    for node in model.graph.node:
        found = _look_up(node, makers)
        if found is None:
            kept.append(node)
            continue
        stored, cast, scales = found
        (whole, rows), scale = stored.input, scales.input[0]
        table, wide = whole.removesuffix(INT8_SUFFIX), f"{whole}.wide"
        if table not in tables:
            tables.add(table)
            kept.append(helper.make_node("Cast", [whole], [wide], name=wide, to=FLOAT))
            kept.append(helper.make_node("Mul", [wide, scale], [table], name=table))
        kept.append(helper.make_node("Gather", [table, rows], node.output, name=stored.name))
        replaced.update(one.output[0] for one in (stored, cast, scales))
    del model.graph.node[:]
    model.graph.node.extend(node for node in kept if not replaced.intersection(node.output))


def _look_up(
    node: NodeProto, makers: Mapping[str, NodeProto]
) -> tuple[NodeProto, NodeProto, NodeProto] | None:
    """What a product widens that was looked up: the look-up, its cast, the look-up of scales."""
    parts = [makers[name] for name in node.input if name in makers]
    if node.op_type != "Mul" or [part.op_type for part in parts] != ["Cast", "Gather"]:
        return None
    cast, scales = parts
    stored = makers.get(cast.input[0])
    if stored is None or stored.op_type != "Gather" or stored.input[1] != scales.input[1]:
        return None
    return stored, cast, scales


def base_precision(bundle: Bundle, network: NetworkName) -> str:
    """The precision of a bundle that lowering starts from: FP32, or what computes in it.

    Raises:
        BundleError: The network comes in neither.
    """
    variants = bundle.manifest.networks[network].variants
    for precision in ("fp32", "compact"):
        if precision in variants:
            return precision
    raise BundleError(
        f"the {network} network comes in {', '.join(sorted(variants))}; "
        "calibration starts from fp32 or compact",
        where=bundle.path,
        remedy="Export the bundle again with: vtloc-export onnx CHECKPOINT --precision fp32",
    )


def base_graph(bundle: Bundle, network: NetworkName, *, precision: str | None = None) -> ModelProto:
    """A network's graph, its weights as constants.

    Args:
        bundle: The bundle.
        network: Which network.
        precision: Which variant; None takes ``base_precision``.

    Raises:
        BundleError: The bundle lacks it, or the file was altered.
    """
    file = bundle.variant(network, precision or base_precision(bundle, network))
    model = load_graph(bundle.onnx(file).single("calibration"), where=bundle.path / file.file)
    widen_constants(model)
    return model
