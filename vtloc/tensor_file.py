"""Files of tensors: safetensors with text beside the numbers, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from vtloc_runtime.errors import OutputError, VtlocError
from vtloc_runtime.system.atomic_write import atomic_write
from vtloc_runtime.system.input_file import read_input

if TYPE_CHECKING:
    from torch import Tensor

_HEADER = "vtloc"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors and their header; a crash leaves the old file or the new one.

    The same tensors and header give the same bytes: safetensors writes its metadata in any
    order, so the header is one entry of it.

    Raises:
        OutputError: The file cannot be written.
    """
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {_HEADER: json.dumps(dict(header), sort_keys=True)}
    write_whole(path, save(plain, metadata=metadata))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, folders included.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"cannot write the file: {error.strerror}", where=path) from error


def read_whole(path: Path, error: type[VtlocError]) -> bytes:
    """A file's bytes; a failure raises ``error``."""
    try:
        return read_input(path)
    except OSError as cause:
        raise error(f"cannot read the file: {cause.strerror}", where=path) from cause
    except ValueError as cause:
        # A name with a NUL character in it.
        raise error(f"cannot read the file: {cause}", where=path) from cause


def parse_tensors(
    content: bytes, path: Path, error: type[VtlocError]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file; damage raises ``error``.

    Args:
        content: The file's bytes.
        path: Where they come from, for the message.
        error: What to raise.
    """
    from safetensors.torch import load

    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as cause:
        raise error(
            f"the file is damaged or not in safetensors format: {cause}", where=path
        ) from cause
    # The format: eight bytes of length, then a JSON object; both were checked just now.
    length = int.from_bytes(content[:8], "little")
    try:
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        return tensors, plain_header(metadata)
    except (TypeError, ValueError, RecursionError) as cause:
        raise error("the header is damaged", where=path) from cause


def plain_header(metadata: Mapping[str, str]) -> dict[str, str]:
    """What ``write_tensors`` wrote as header; other programs' files carry their metadata plain.

    Args:
        metadata: The metadata of a safetensors file.

    Raises:
        ValueError: It is damaged.
        TypeError: Likewise.
        RecursionError: Likewise.
    """
    header = dict(json.loads(metadata[_HEADER])) if _HEADER in metadata else metadata
    return {str(name): str(text) for name, text in header.items()}


def json_entry(
    header: Mapping[str, str], key: str, path: Path, error: type[VtlocError]
) -> dict[str, Any]:
    """A JSON object kept as text in a header; anything else raises ``error``."""
    try:
        value = json.loads(header[key])
    except (KeyError, ValueError, RecursionError) as cause:
        raise error(f"the header has no valid {key!r}", where=path) from cause
    if not isinstance(value, dict):
        raise error(f"{key!r} in the header is not an object", where=path)
    return value
