"""Open a bundle, and hand out its files only after their hashes were checked."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from vtloc_runtime.bundle.bundle_names import find_bundle
from vtloc_runtime.bundle.digest import ENGINES_FOLDER, digest_of, naming_files, parse_digest
from vtloc_runtime.bundle.manifest import (
    MANIFEST_NAME,
    READABLE_VERSIONS,
    Manifest,
    NetworkFile,
    NetworkName,
    ReferenceEntry,
    SentenceBankEntry,
)
from vtloc_runtime.bundle.manifest_check import (
    LEAST_FRAMES_PER_SECOND,
    MOST_FRAMES_PER_SECOND,
    check_manifest,
    path_fault,
)
from vtloc_runtime.bundle.onnx_file import OnnxFile
from vtloc_runtime.bundle.user_folder import is_installed, user_folder
from vtloc_runtime.errors import BundleError, UsageError
from vtloc_runtime.system.arguments import check_real
from vtloc_runtime.system.untrusted_json import convert, decode_json, read_file

DEFAULT_BUNDLE = Path(__file__).parent / "default"
"""The bundle that ships with the project."""
DEFAULT_BUNDLE_DIGEST = "sha256:c431cfac7b1d402bab2d41f285753fea6e7b468a7808eec41b43aec787dc22a1"
"""Its digest, for programs that pin it, and to tell whether it is still as it was shipped."""

_EXPORT_AGAIN = "Export the bundle again with: vtloc-export onnx CHECKPOINT --out BUNDLE"
_LARGEST_MANIFEST = 16 * 2**20
_LARGEST_TOKENIZER = 256 * 2**20
_LARGEST_FILE = 2**31
"""Bytes: the most that one ONNX file may have."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A directory that holds everything the runtime needs.

    Attributes:
        path: The directory.
        manifest: What ``bundle.json`` says.
        hashes: sha256 of ``bundle.json`` and of each engine's sidecar, by path in the bundle, as
            they were when it was opened.
        pinned: Whether these hashes were compared with a digest: then only they are accepted.
    """

    path: Path
    manifest: Manifest
    hashes: Mapping[str, str] = field(default_factory=dict, repr=False)
    pinned: bool = False

    @classmethod
    def open(cls, path: str | Path | None = None, *, digest: str | None = None) -> Bundle:
        """Read and check a bundle's manifest; no network is loaded yet.

        Args:
            path: The bundle's directory, or the name of a bundle in the user's folder; None opens
                the one that ships with the project.
            digest: The digest that it must have, ``"sha256:..."``; None takes any bundle.

        Raises:
            BundleError: There is no bundle, its schema is unknown, it contradicts itself, or it
                has another digest.
            UsageError: The path or the digest cannot be one.
        """
        folder = _folder(path)
        content = _read_manifest(folder / MANIFEST_NAME)
        manifest = _decode_manifest(content, folder / MANIFEST_NAME)
        bundle = cls(folder, manifest, naming_files(folder, content))
        if digest is not None:
            bundle = bundle.require(digest)
        check_manifest(manifest, folder)
        for file in bundle.files():
            if not bundle.resolve(file).is_file():
                raise BundleError(
                    "a file of the bundle is missing", where=folder / file, remedy=_EXPORT_AGAIN
                )
        return bundle

    @property
    def digest(self) -> str:
        """What pins the bundle: one hash over its manifest and its engines' sidecars.

        These hold the hashes of every other file, so nothing that runs can change without it.
        """
        return digest_of(self.hashes)

    @property
    def manifest_digest(self) -> str:
        """The digest without engines: what bundles that are made from this one name as source."""
        return digest_of({MANIFEST_NAME: self.hashes[MANIFEST_NAME]})

    def require(self, digest: str) -> Bundle:
        """The same bundle, once its digest is found to be the wanted one.

        Raises:
            BundleError: It has another digest.
            UsageError: That is not a digest.
        """
        wanted = parse_digest(digest)
        if self.digest != wanted:
            raise BundleError(
                f"the bundle's digest is {self.digest}, not {wanted}",
                where=self.path,
                remedy="Something in it was altered, or engines were built or removed since; "
                "take the right digest from where the bundle came from",
            )
        return replace(self, pinned=True)

    def files(self) -> tuple[str, ...]:
        """Every file that the manifest names."""
        networks = self.manifest.networks.values()
        variants = [variant for network in networks for variant in network.variants.values()]
        external = (one.file for variant in variants for one in variant.external)
        # Two precisions of a network may share a file.
        return (
            *dict.fromkeys((*(variant.file for variant in variants), *external)),
            self.manifest.tokenizer.file,
            *(entry.file for entry in self.compared_files()),
        )

    def compared_files(self) -> Iterator[SentenceBankEntry | ReferenceEntry]:
        """What sentences are compared with beside a video's frames."""
        bank = self.manifest.sentence_bank
        if bank is not None:
            yield bank
            if bank.reference is not None:
                yield bank.reference

    def resolve(self, file: str) -> Path:
        """Where a file of the manifest lies.

        A file may be a symbolic link, as in the cache of the Hugging Face Hub: it is read only as
        far as its hash is right, wherever it lies.

        Raises:
            BundleError: The path leads out of the bundle.
        """
        if fault := path_fault(file):
            raise BundleError(fault, where=self.path)
        return self.path / file

    def read(self, file: str, sha256: str, *, limit: int = _LARGEST_FILE) -> bytes:
        """The bytes of a file, once their hash was found to be right.

        Args:
            file: Its path in the bundle.
            sha256: The hash that it must have.
            limit: Most bytes that it may have.

        Raises:
            BundleError: The file is missing, unreadable, too large or altered.
        """
        target = self.resolve(file)

        def fail(what: str) -> BundleError:
            return BundleError(what, where=target, remedy=_EXPORT_AGAIN)

        content = read_file(target, fail=fail, limit=limit)
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise fail(
                f"the file was altered: its sha256 is {found[:12]}…, "
                f"the manifest says {sha256[:12]}…"
            )
        return content

    def verify(self) -> None:
        """Read every file that the manifest names, and compare its hash.

        Raises:
            BundleError: A file is missing or altered.
        """
        manifest = self.manifest
        for network in manifest.networks.values():
            for variant in network.variants.values():
                self.read(variant.file, variant.sha256)
                for external in variant.external:
                    self.read(external.file, external.sha256, limit=external.bytes)
        for entry in (manifest.tokenizer, *self.compared_files()):
            self.read(entry.file, entry.sha256)

    def onnx(self, file: NetworkFile) -> OnnxFile:
        """A network's verified bytes, and those of every file that it may read.

        Args:
            file: One of the manifest's.

        Raises:
            BundleError: A file is missing or altered, the network is not an ONNX file or reads a
                file that the manifest does not name, or it might never come to an end.
        """
        folder = PurePosixPath(file.file).parent
        external = {}
        for entry in file.external:
            path = PurePosixPath(entry.file)
            if not path.is_relative_to(folder):
                raise BundleError(
                    f"the external data {entry.file!r} does not lie beside {file.file!r}",
                    where=self.path,
                )
            content = self.read(entry.file, entry.sha256, limit=entry.bytes)
            external[str(path.relative_to(folder))] = content
        return OnnxFile(self.read(file.file, file.sha256), external, where=self.resolve(file.file))

    def variant(self, network: NetworkName, precision: str) -> NetworkFile:
        """The file of a network in a precision.

        Raises:
            BundleError: The bundle does not hold that network, or not in that precision.
        """
        entry = self.manifest.networks.get(network)
        if entry is None:
            raise BundleError(
                f"the bundle has no {network} network",
                where=self.path,
                remedy=f"Its networks are: {', '.join(self.manifest.network_names)}",
            )
        variants = entry.variants
        if precision not in variants:
            raise BundleError(
                f"the {network} network comes in {', '.join(sorted(variants))}, not {precision}",
                where=self.path,
                remedy=f"Make it with: vtloc-export onnx CHECKPOINT --precision {precision}",
            )
        return variants[precision]

    def tokenizer(self) -> bytes:
        """The tokenizer's verified bytes, a Hugging Face ``tokenizer.json``.

        Raises:
            BundleError: The file is missing or altered.
        """
        entry = self.manifest.tokenizer
        return self.read(entry.file, entry.sha256, limit=_LARGEST_TOKENIZER)

    def always_answering(self) -> Bundle:
        """The same bundle, giving every sentence its best moment however unlikely it is."""
        calibration, bank = self.manifest.score_calibration, self.manifest.sentence_bank
        if calibration is not None:
            calibration = msgspec.structs.replace(calibration, threshold=None)
        if bank is not None:
            bank = msgspec.structs.replace(bank, threshold=None)
        manifest = msgspec.structs.replace(
            self.manifest, score_calibration=calibration, sentence_bank=bank
        )
        return replace(self, manifest=manifest)

    def sampled_at(self, fps: float | None) -> Bundle:
        """The same bundle, looking at so many frames a second instead of its own number.

        Args:
            fps: Frames a second; None leaves the bundle as it is.

        Raises:
            UsageError: It is not a positive number.
        """
        if fps is None:
            return self
        check_real(fps, "fps", least=LEAST_FRAMES_PER_SECOND, most=MOST_FRAMES_PER_SECOND)
        return replace(
            self, manifest=msgspec.structs.replace(self.manifest, frames_per_second=float(fps))
        )

    @property
    def engines(self) -> Path:
        """The folder of TensorRT plans; it need not exist.

        Inside the bundle, or in the user's cache where the bundle cannot be written to.
        """
        inside = self.path / ENGINES_FOLDER
        if inside.is_dir() or not is_installed(self.path):
            return inside
        return user_folder(self.path) / ENGINES_FOLDER


def _folder(path: object) -> Path:
    if path is None:
        return DEFAULT_BUNDLE
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise UsageError(f"{path!r} is not the path of a bundle", remedy="Name its directory")
    folder = find_bundle(path)
    try:
        mode = folder.stat().st_mode
    except (OSError, ValueError) as error:
        # ValueError: a name with a NUL in it.
        reason = getattr(error, "strerror", None) or error
        raise BundleError(
            f"there is no such bundle: {reason}", where=repr(str(path))[1:-1], remedy=_EXPORT_AGAIN
        ) from error
    if stat.S_ISDIR(mode):
        return folder
    if folder.name == MANIFEST_NAME:
        return folder.parent
    raise BundleError("a bundle is a directory", where=folder, remedy="Name the directory")


def _read_manifest(path: Path) -> bytes:
    def fail(what: str) -> BundleError:
        return BundleError(f"the bundle's manifest: {what}", where=path, remedy=_EXPORT_AGAIN)

    return read_file(path, fail=fail, limit=_LARGEST_MANIFEST)


def _decode_manifest(content: bytes, path: Path) -> Manifest:
    def fail(what: str) -> BundleError:
        return BundleError(f"the bundle's manifest: {what}", where=path, remedy=_EXPORT_AGAIN)

    fields = decode_json(content, dict[str, Any], fail=fail)
    version = fields.get("schema")
    # True and 1.0 equal 1, and are not versions.
    if type(version) is not int or version not in READABLE_VERSIONS:
        known = " and ".join(str(one) for one in READABLE_VERSIONS)
        raise BundleError(
            f"the manifest has schema {version!r:.40}; this version reads {known}",
            where=path,
            remedy="Use the vtloc that wrote the bundle, or export the bundle again",
        )
    return convert(_of_today(fields), Manifest, fail=fail)


def _of_today(values: dict[str, Any]) -> dict[str, Any]:
    """A manifest of any readable schema in today's words."""
    schema = values["schema"]
    decoding, calibration = values.get("decoding"), values.get("score_calibration")
    if schema < 3 and isinstance(decoding, dict):
        # Moments of one answer might overlap by so much; today they share nothing.
        decoding.pop("overlap", None)
    if schema < 4 and isinstance(calibration, dict) and calibration.pop("presence", None):
        # Frames of other videos told presence, and scores were fitted to margins over them.
        calibration["margin_weight"] = 0.0
    return values
