"""Open a bundle, and hand out its files only after their hashes were checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from vtloc_runtime.bundle.manifest import (
    MANIFEST_NAME,
    NETWORK_NAMES,
    READABLE_VERSIONS,
    Manifest,
    NetworkFile,
    NetworkName,
    PresenceTest,
    ScoreCalibration,
    SharedSpace,
)
from vtloc_runtime.bundle.user_folder import is_installed, user_folder
from vtloc_runtime.errors import BundleError

DEFAULT_BUNDLE = Path(__file__).parent / "default"
"""The bundle that ships with the project."""

ENGINES = "engines"
"""The folder of TensorRT plans within a bundle."""

_EXPORT_AGAIN = "Export the bundle again with: vtloc-export onnx CHECKPOINT --out BUNDLE"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A directory that holds everything the runtime needs.

    Attributes:
        path: The directory.
        manifest: What ``bundle.json`` says.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path | None = None) -> Bundle:
        """Read and check a bundle's manifest; no network is loaded yet.

        Args:
            path: The bundle's directory; None opens the one that ships with the project.

        Raises:
            BundleError: There is no bundle, its schema is unknown, or it contradicts itself.
        """
        folder = DEFAULT_BUNDLE if path is None else Path(path)
        manifest = _read_manifest(folder / MANIFEST_NAME)
        _check_consistency(manifest, folder)
        bundle = cls(folder, manifest)
        for file in bundle.files():
            if not bundle.resolve(file).is_file():
                raise BundleError(
                    "a file of the bundle is missing", where=folder / file, remedy=_EXPORT_AGAIN
                )
        return bundle

    def files(self) -> tuple[str, ...]:
        """Every file that the manifest names."""
        networks = self.manifest.networks.values()
        variants = (variant.file for network in networks for variant in network.variants.values())
        presence = self.presence
        # Two precisions of a network may share a file.
        return (
            *dict.fromkeys(variants),
            self.manifest.tokenizer.file,
            *(() if presence is None else (presence.file,)),
        )

    def resolve(self, file: str) -> Path:
        """Where a file of the manifest lies.

        Raises:
            BundleError: The path leads out of the bundle.
        """
        root = self.path.resolve()
        target = (root / file).resolve()
        if not target.is_relative_to(root):
            raise BundleError(f"the path {file!r} leads out of the bundle", where=self.path)
        return target

    def read(self, file: str, sha256: str) -> bytes:
        """The bytes of a file, once their hash was found to be right.

        Raises:
            BundleError: The file is missing, unreadable or altered.
        """
        target = self.resolve(file)
        try:
            content = target.read_bytes()
        except OSError as error:
            raise BundleError(
                f"cannot read the file: {error.strerror}", where=target, remedy=_EXPORT_AGAIN
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != sha256:
            raise BundleError(
                f"the file was altered: its sha256 is {found[:12]}…, "
                f"the manifest says {sha256[:12]}…",
                where=target,
                remedy=_EXPORT_AGAIN,
            )
        return content

    def variant(self, network: NetworkName, precision: str) -> NetworkFile:
        """The file of a network in a precision.

        Raises:
            BundleError: The bundle does not hold that precision.
        """
        variants = self.manifest.networks[network].variants
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
        return self.read(self.manifest.tokenizer.file, self.manifest.tokenizer.sha256)

    @property
    def presence(self) -> PresenceTest | None:
        """How it is told that a video does not show what a sentence describes, where it is."""
        calibration = self.manifest.score_calibration
        return None if calibration is None else calibration.presence

    def always_answering(self) -> Bundle:
        """The same bundle, giving every sentence its best moment however unlikely it is."""
        calibration = self.manifest.score_calibration
        if calibration is None:
            return self
        kept = msgspec.structs.replace(calibration, threshold=None, presence=None)
        return replace(
            self, manifest=msgspec.structs.replace(self.manifest, score_calibration=kept)
        )

    @property
    def engines(self) -> Path:
        """The folder of TensorRT plans; it need not exist.

        Inside the bundle, or in the user's cache where the bundle cannot be written to.
        """
        inside = self.path / ENGINES
        if inside.is_dir() or not is_installed(self.path):
            return inside
        return user_folder(self.path) / ENGINES


def _read_manifest(path: Path) -> Manifest:
    if not path.parent.is_dir():
        raise BundleError("there is no such bundle", where=path.parent, remedy=_EXPORT_AGAIN)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"the bundle has no readable manifest: {error.strerror}",
            where=path,
            remedy=_EXPORT_AGAIN,
        ) from error
    try:
        version = json.loads(content).get("schema")
    except (ValueError, AttributeError) as error:
        raise BundleError(
            f"the manifest is not a JSON object: {error}", where=path, remedy=_EXPORT_AGAIN
        ) from error
    if version not in READABLE_VERSIONS:
        known = " and ".join(str(one) for one in READABLE_VERSIONS)
        raise BundleError(
            f"the manifest has schema {version!r}; this version reads {known}",
            where=path,
            remedy="Use the vtloc that wrote the bundle, or export the bundle again",
        )
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        raise BundleError(
            f"the manifest is not valid: {error}", where=path, remedy=_EXPORT_AGAIN
        ) from error


def _check_consistency(manifest: Manifest, folder: Path) -> None:
    if missing := set(NETWORK_NAMES) - manifest.networks.keys():
        raise BundleError(
            f"the manifest names no {', '.join(sorted(missing))} network",
            where=folder,
            remedy=_EXPORT_AGAIN,
        )
    if manifest.frames_per_second <= 0:
        raise BundleError("frames_per_second is not positive", where=folder)
    if not 0 <= manifest.windows.overlap < manifest.windows.frames:
        raise BundleError("windows overlap by more than they hold", where=folder)
    shared = manifest.shared_space
    if shared is None and manifest.decoding.strategy in {"similarity", "combined"}:
        raise BundleError("decoding by similarity needs a shared space", where=folder)
    widths = {name: network.dims for name, network in manifest.networks.items()}
    if shared is not None and (
        shared.stop - shared.start != widths["text"].get("sentence")
        or shared.stop > widths["visual"].get("feature", 0)
    ):
        raise BundleError("the shared space does not fit the networks' widths", where=folder)
    if manifest.score_calibration is not None:
        _check_calibration(manifest.score_calibration, shared, folder)


def _check_calibration(
    calibration: ScoreCalibration, shared: SharedSpace | None, folder: Path
) -> None:
    raw, presence = calibration.raw, calibration.presence
    if not raw or len(raw) != len(calibration.probability) or list(raw) != sorted(raw):
        raise BundleError("the calibration of scores is no map from rising scores", where=folder)
    if presence is None:
        return
    if shared is None:
        raise BundleError("telling presence by cosine needs a shared space", where=folder)
    if not 0 <= presence.share <= 1:
        raise BundleError(f"a share of {presence.share:g} of frames is impossible", where=folder)
