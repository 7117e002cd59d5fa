"""PyTorch parameter names in an ONNX graph, written and read back.

The exporter folds a linear layer's transposition into its weight and gives the result a number
for a name. Here every constant that equals a parameter gets the parameter's name back, so that a
graph can be read by people, a policy can speak of weights by name, and the network's PyTorch
weights can be built again from a bundle alone.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from vtloc_export.errors import ExportError
from vtloc_export.graph.compact_weights import widened

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, TensorProto

_Digest = tuple[str, tuple[int, ...], int]

METADATA_KEY = "vtloc.parameters"
_TRANSPOSED = ".transposed"
_TRACED_PREFIX = "network."
"""What the exporter puts before a parameter's name: the module's place in what is traced."""


def name_parameters(model: ModelProto, network: torch.nn.Module, *, half: bool) -> None:
    """Give initializers the names of the parameters that they hold, in place.

    Which parameter lies in which initializer is written to the graph's metadata too, for equal
    parameters (biases of zeros, say) share one initializer.

    Args:
        model: The exported graph.
        network: The module it came from, in the graph's precision.
        half: Whether the graph is in half precision, which has some constants in FP32.
    """
    from onnx import numpy_helper

    # Every look at an initializer's numbers copies them, so one at a time.
    holders: dict[_Digest, TensorProto] = {}
    own: dict[tuple[str, _Digest], TensorProto] = {}
    for initializer in model.graph.initializer:
        digest = _digest(np.asarray(numpy_helper.to_array(initializer)))
        holders.setdefault(digest, initializer)
        own[initializer.name.removeprefix(_TRACED_PREFIX), digest] = initializer
    kinds = {(kind, shape) for kind, shape, _ in holders}
    renamed: dict[str, str] = {}
    places: dict[str, tuple[str, bool]] = {}
    for name, tensor in network.state_dict().items():
        for candidate, transposed in _forms(tensor, half=half):
            if (str(candidate.dtype), candidate.shape) not in kinds:
                continue
            digest = _digest(candidate)
            found = own.get((name, digest)) or holders.get(digest)
            if found is not None and np.array_equal(candidate, numpy_helper.to_array(found)):
                label = f"{name}{_TRANSPOSED}" if transposed else name
                places[name] = (renamed.setdefault(found.name, label), transposed)
                break
    for initializer in model.graph.initializer:
        plain = initializer.name.removeprefix(_TRACED_PREFIX)
        taken = plain in renamed.values()
        renamed.setdefault(initializer.name, initializer.name if taken else plain)
    _rename(model, renamed)
    # The file knows best: what is listed is what a reader finds.
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps(places, sort_keys=True))


def read_parameters(model: ModelProto) -> dict[str, torch.Tensor]:
    """The PyTorch parameters that a graph holds, as float32.

    Raises:
        ExportError: The graph has no record of its parameters.
    """
    from onnx import numpy_helper

    listed = next((item.value for item in model.metadata_props if item.key == METADATA_KEY), None)
    if listed is None:
        raise ExportError(
            "the graph does not name its parameters",
            where=model.graph.name,
            remedy="Export from the checkpoint",
        )
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    parameters: dict[str, torch.Tensor] = {}
    places: Mapping[str, tuple[str, bool]] = json.loads(listed)
    for name, (holder, transposed) in places.items():
        array = widened(holder, arrays)
        if array is not None:
            parameters[name] = torch.from_numpy(array.T.copy() if transposed else array.copy())
    return parameters


def _forms(tensor: torch.Tensor, *, half: bool) -> list[tuple[NDArray[np.generic], bool]]:
    array = tensor.detach().cpu().numpy()
    forms = [(array, False)]
    if half and array.dtype == np.float16:
        forms.append((array.astype(np.float32), False))
    if array.ndim == 2:
        forms += [(form.T, True) for form, _ in tuple(forms)]
    return forms


def _digest(array: NDArray[np.generic]) -> _Digest:
    # A checksum is quick and finds the candidate; the caller compares the numbers themselves.
    content = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return str(array.dtype), array.shape, zlib.crc32(content.data)


def _rename(model: ModelProto, renamed: Mapping[str, str]) -> None:
    for initializer in model.graph.initializer:
        initializer.name = renamed.get(initializer.name, initializer.name)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name in renamed:
                node.input[index] = renamed[name]
    for value in model.graph.value_info:
        value.name = renamed.get(value.name, value.name)
