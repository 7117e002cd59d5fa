"""One digest for a whole bundle: pin it, and nothing else can run in its place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.errors import BundleError, UsageError
from vtloc_runtime.system.untrusted_json import read_file

ENGINES_FOLDER = "engines"
DIGEST_VARIABLE = "VTLOC_BUNDLE_DIGEST"
"""Names the digest that a bundle must have, where a call does not."""

_PREFIX = "sha256:"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HEADING = "vtloc bundle digest 1"


def parse_digest(text: object) -> str:
    """A digest as ``sha256:`` and 64 digits, however its letters were cased.

    Raises:
        UsageError: It is something else.
    """
    cleaned = text.strip().lower() if isinstance(text, str) else ""
    if re.fullmatch(r"[0-9a-f]{64}", cleaned):
        cleaned = _PREFIX + cleaned
    if not _DIGEST.fullmatch(cleaned):
        raise UsageError(
            f"{text!r} is not the digest of a bundle",
            remedy="Give sha256: and 64 hexadecimal digits, as vtloc-run doctor prints them",
        )
    return cleaned


def digest_of(hashes: Mapping[str, str]) -> str:
    """The digest over the files that name all others.

    Args:
        hashes: sha256 of ``bundle.json`` and of each engine's sidecar, by path in the bundle.

    Returns:
        ``"sha256:"`` and 64 hexadecimal digits: the hash of a heading and then, in the order of
        the paths, a line for each with its hash, two spaces and the path.
    """
    lines = [_HEADING, *(f"{hashes[path]}  {path}" for path in sorted(hashes))]
    return _PREFIX + hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()


def naming_files(folder: Path, manifest: bytes) -> dict[str, str]:
    """Hashes of the files that name every other file of a bundle.

    The manifest holds the hash of each network, of the tokenizer and of the reference frames; a
    sidecar holds the hash of its engine's plan. Whatever else lies in the folder is never read.

    Args:
        folder: The bundle's directory.
        manifest: The bytes of its ``bundle.json``.

    Raises:
        BundleError: A sidecar cannot be read.
    """
    hashes = {MANIFEST_NAME: hashlib.sha256(manifest).hexdigest()}
    for path in sorted((folder / ENGINES_FOLDER).glob("*.json")):

        def fail(what: str, path: Path = path) -> BundleError:
            return BundleError(f"the engine's sidecar: {what}", where=path)

        name = path.name.encode("utf-8", "backslashreplace").decode()
        content = read_file(path, fail=fail)
        hashes[f"{ENGINES_FOLDER}/{name}"] = hashlib.sha256(content).hexdigest()
    return hashes
