"""Atomic writing of a bundle: into a temporary folder beside its place, then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.digest import ENGINES_FOLDER
from vtloc_runtime.bundle.engine_file import LOG_SUFFIX, SIDECAR_SUFFIX, Engine
from vtloc_runtime.bundle.manifest import MANIFEST_NAME, Manifest
from vtloc_runtime.errors import EngineError, OutputError
from vtloc_runtime.system.text import first_line


def check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse, before any work is done, a place where a bundle cannot or must not be written.

    Raises:
        OutputError: Something else is there, or a bundle that is not to be replaced.
    """
    try:
        if not out.exists():
            return
    except OSError as error:
        raise _unwritable(out, error) from error
    if not out.is_dir() or (any(out.iterdir()) and not _is_manifest(out / MANIFEST_NAME)):
        raise OutputError(
            "this exists and is not a bundle, so it is not replaced",
            where=out,
            remedy="Choose another place with --out",
        )
    if not overwrite and any(out.iterdir()):
        raise OutputError(
            "a bundle already exists there", where=out, remedy="Replace it with --overwrite"
        )
    if stranger := _stranger(out):
        raise OutputError(
            f"the bundle there also holds {stranger}, which vtloc did not write",
            where=out,
            remedy="Move it elsewhere, or choose another place with --out",
        )


@contextmanager
def staged_bundle(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to write a bundle into; it becomes ``out`` if the block ends well, else nothing.

    Args:
        out: The bundle's final place.
        overwrite: Whether a bundle that is there is replaced; engines of networks that did not
            change are kept.

    Raises:
        OutputError: The place cannot be written to.
    """
    check_place(out, overwrite=overwrite)
    made: list[Path] = []
    try:
        place = out.resolve()
        staging = place.with_name(f".{place.name}.{os.getpid()}.part")
        made = [folder for folder in place.parents if not folder.exists()]
        staging.mkdir(parents=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        _remove_empty(made)
        raise _unwritable(out, error) from error
    try:
        yield staging
        if (place / ENGINES_FOLDER).is_dir() and (staging / MANIFEST_NAME).is_file():
            _keep_engines(place, staging)
        _move(staging, place)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise OutputError(f"cannot write the bundle: {reason}", where=out) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_empty(made)


def _unwritable(out: Path, error: OSError | RuntimeError) -> OutputError:
    reason = error.strerror if isinstance(error, OSError) else first_line(error)
    return OutputError(
        f"cannot write there: {reason}", where=out, remedy="Choose another place with --out"
    )


def _remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders that nothing was put into, the deepest first."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _is_manifest(path: Path) -> bool:
    """Whether a file is a bundle's manifest, of any schema: other programs use the name too."""
    try:
        content = msgspec.json.decode(path.read_bytes())
    except (OSError, ValueError, msgspec.DecodeError, RecursionError):
        return False
    return isinstance(content, dict) and {"schema", "networks"} <= content.keys()


def _stranger(bundle: Path) -> Path | None:
    """A file in a bundle that its manifest does not name; engines are its own too."""
    if not (bundle / MANIFEST_NAME).is_file():
        return None
    named = {MANIFEST_NAME, *_strings(msgspec.json.decode((bundle / MANIFEST_NAME).read_bytes()))}
    for file in sorted(bundle.rglob("*")):
        inside = file.relative_to(bundle)
        if not file.is_dir() and str(inside) not in named and inside.parts[0] != "engines":
            return inside
    return None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _strings(entry)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``bundle.json`` and read the bundle back as the runtime will.

    Raises:
        BundleError: The bundle is not consistent.
    """
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (folder / MANIFEST_NAME).write_bytes(content + b"\n")
    Bundle.open(folder)


def _keep_engines(old: Path, staging: Path) -> None:
    """Take along the engines whose ONNX files are in the new bundle as they were in the old."""
    bundle = Bundle.open(staging)
    kept = {
        variant.sha256
        for network in bundle.manifest.networks.values()
        for variant in network.variants.values()
    }
    for sidecar in sorted((old / ENGINES_FOLDER).glob(f"*{SIDECAR_SUFFIX}")):
        try:
            engine = Engine.open(sidecar)
        except EngineError:
            continue
        if engine.identity.onnx_sha256 not in kept or not engine.plan_path.is_file():
            continue
        (staging / ENGINES_FOLDER).mkdir(exist_ok=True)
        log = sidecar.with_suffix(LOG_SUFFIX)
        for file in (engine.plan_path, sidecar, *([log] if log.is_file() else [])):
            # Linked, where the file system can: the old bundle goes away whole.
            try:
                os.link(file, staging / ENGINES_FOLDER / file.name)
            except OSError:
                shutil.copy2(file, staging / ENGINES_FOLDER / file.name)


def _move(staging: Path, place: Path) -> None:
    if not place.exists():
        staging.replace(place)
        return
    # Folders cannot be exchanged portably: between the two renames there is no bundle at the
    # place. A program that opens it just then fails; a crash just then leaves the old bundle
    # beside it, under the name below.
    retired = place.with_name(f".{place.name}.{os.getpid()}.old")
    place.replace(retired)
    try:
        staging.replace(place)
    except OSError:
        retired.replace(place)
        raise
    shutil.rmtree(retired, ignore_errors=True)
