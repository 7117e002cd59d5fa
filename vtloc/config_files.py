"""Reads configurations from TOML and checks every field."""

from __future__ import annotations

import dataclasses
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from vtloc.errors import ConfigurationError
from vtloc.tensor_file import read_whole, write_whole
from vtloc_runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_Configuration = TypeVar("_Configuration")


def configure(
    kind: type[_Configuration], values: Mapping[str, Any], *, where: str
) -> _Configuration:
    """Build a configuration, refusing unknown fields.

    Args:
        kind: A dataclass.
        values: Its fields as plain values.
        where: What is being configured, for messages.

    Raises:
        ConfigurationError: A field is unknown, missing, or of the wrong type or range.
    """
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    if unknown := values.keys() - known:
        raise ConfigurationError(
            f"unknown fields {', '.join(sorted(unknown))}",
            where=where,
            remedy=f"Known fields are: {', '.join(sorted(known))}",
        )
    try:
        return msgspec.convert(dict(values), kind)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigurationError(str(error), where=where) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigurationError: The file is missing or is not valid TOML.
    """
    content = read_whole(path, ConfigurationError)
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the file is not valid TOML: {error}", where=path) from error


def write_toml(path: Path, values: Mapping[str, Any], *, heading: str) -> None:
    """Write a TOML file.

    Args:
        path: The file.
        values: Its tables.
        heading: A comment for its first line.

    Raises:
        MissingExtraError: The package that writes TOML is not installed.
        OutputError: The file cannot be written.
    """
    try:
        import tomli_w
    except ImportError as error:
        raise MissingExtraError.for_package(
            "tomli_w", extra="train", purpose="writing TOML"
        ) from error
    write_whole(path, f"# {heading}\n{tomli_w.dumps(_without_none(values))}".encode())


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """TOML knows no null: what is None stays out, and is None again when read."""
    plain: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            plain[name] = _without_none(value)
        elif isinstance(value, list | tuple):
            plain[name] = [_without_none(v) if isinstance(v, dict) else v for v in value]
        elif value is not None:
            plain[name] = value
    return plain
