"""Gives every machine the same bundle: the one at its path, or a copy; checked by its hash."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME, Manifest
from vtloc_runtime.errors import BundleError
from vtloc_runtime.system.atomic_write import atomic_write, sync_folder
from vtloc_runtime.system.cache_folder import default_folder


@dataclass(frozen=True, slots=True)
class BundleTransfer:
    """Identifies a bundle on every machine.

    Attributes:
        path: Its folder on the driver; None is the bundle that ships with vtloc.
        sha256: Hash of ``bundle.json``, which holds the hashes of all other files.
        manifest: The driver's manifest, with the driver's changes.
        content: Ray's reference to its files; None if they are not sent.
        digest: The digest that it must have; None if the driver did not pin it.
    """

    path: str | None
    sha256: str
    manifest: Manifest
    content: Any = None
    digest: str | None = None

    @classmethod
    def prepare(
        cls, bundle: Bundle, send: Callable[[dict[str, bytes]], Any] | None
    ) -> BundleTransfer:
        """Prepare the driver's bundle for other machines.

        Args:
            bundle: The bundle.
            send: Takes the files by their paths in the bundle, and returns a reference to them;
                None sends nothing. The bundle that ships with vtloc is never sent.
        """
        sha256 = _hash(bundle.path / MANIFEST_NAME)
        digest = bundle.digest if bundle.pinned else None
        if bundle.path.resolve() == DEFAULT_BUNDLE.resolve():
            return cls(None, sha256, bundle.manifest, digest=digest)
        content = None
        if send is not None:
            paths = [path for path in bundle.path.rglob("*") if path.is_file()]
            content = send({str(p.relative_to(bundle.path)): p.read_bytes() for p in paths})
        return cls(str(bundle.path.resolve()), sha256, bundle.manifest, content, digest)

    def open(self, fetch: Callable[[Any], dict[str, bytes]], *, node: str) -> Bundle:
        """Open the bundle on this machine.

        Args:
            fetch: Returns the files of a reference.
            node: The machine's address, for error messages.

        Raises:
            BundleError: Another bundle is in its place, or it is missing and was not sent.
        """
        local = DEFAULT_BUNDLE if self.path is None else Path(self.path)
        if (local / MANIFEST_NAME).is_file():
            if _hash(local / MANIFEST_NAME) != self.sha256:
                raise BundleError(
                    "this bundle differs from the driver's",
                    where=f"{node}: {local}",
                    remedy="Copy the driver's bundle to the node, or remove this one to have the "
                    "driver's sent",
                )
            opened = Bundle.open(local, digest=self.digest)
        elif self.content is not None:
            folder = _unpack(self.sha256, lambda: fetch(self.content))
            opened = Bundle.open(folder, digest=self.digest)
        else:
            raise BundleError("the bundle does not exist", where=f"{node}: {local}")
        return replace(opened, manifest=self.manifest)


def _unpack(name: str, fetch: Callable[[], dict[str, bytes]]) -> Path:
    """Write a bundle into the cache atomically, unless it is there."""
    folder = default_folder().parent / "bundles" / name
    if folder.is_dir():
        return folder
    content = fetch()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".vtloc-", dir=folder.parent, ignore_cleanup_errors=True
        ) as name_of_draft:
            draft = Path(name_of_draft) / "bundle"
            draft.mkdir()
            for file, part in content.items():
                target = draft / file
                target.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(target) as written:
                    written.write(part)
            draft.rename(folder)
        sync_folder(folder.parent)
    except OSError as error:
        # Another worker of this machine may have been faster.
        if not folder.is_dir():
            raise BundleError(
                f"the bundle cannot be written: {error.strerror}", where=folder
            ) from error
    return folder


def _hash(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise BundleError(f"cannot read the file: {error.strerror}", where=path) from error
