"""Changes to a bundle: another precision of a network, calibrated scores, measured figures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vtloc_calibration.errors import CalibrationError
from vtloc_export.parity.bounds import promises
from vtloc_export.sentence_bank import SENTENCE_BANK_NAME
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Manifest,
    NetworkFile,
    NetworkName,
    ReferenceEntry,
    ScoreCalibration,
    SentenceBankEntry,
)
from vtloc_runtime.errors import BundleError, OutputError
from vtloc_runtime.system.atomic_write import atomic_write

if TYPE_CHECKING:
    from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames
    from vtloc_runtime.localize.presence.sentence_bank import SentenceBank

REFERENCE_NAME = "reference.safetensors"
"""Where a bundle keeps the frames that sentences are compared with."""


def store_variant(
    bundle: Bundle, network: NetworkName, precision: str, content: bytes, *, like: str
) -> Bundle:
    """Add a network in another precision, or replace it.

    The file is complete before the manifest names it: a bundle is whole at any instant.

    Args:
        bundle: The bundle to change.
        network: Which network.
        precision: What the variant is called.
        content: The ONNX file.
        like: The precision whose inputs and outputs the new one has.

    Returns:
        The bundle as it is now.

    Raises:
        OutputError: The bundle cannot be written.
    """
    source = bundle.variant(network, like)
    folder = Path(source.file).parent
    file = (folder / f"{network}.{precision}.onnx").as_posix()
    _write(bundle.resolve(file), content)
    entry = NetworkFile(
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        inputs=source.inputs,
        outputs=source.outputs,
    )
    old = bundle.manifest.networks[network]
    variants = {**old.variants, precision: entry}
    networks = {
        **bundle.manifest.networks,
        network: msgspec.structs.replace(old, variants=variants),
    }
    return store_manifest(bundle, msgspec.structs.replace(bundle.manifest, networks=networks))


def share_variant(bundle: Bundle, network: NetworkName, precision: str, *, like: str) -> Bundle:
    """Serve a precision of a network with the file of another precision.

    For networks whose own file in that precision would gain nothing.

    Args:
        bundle: The bundle to change.
        network: Which network.
        precision: What is served.
        like: The precision whose file serves it.

    Raises:
        OutputError: The bundle cannot be written.
    """
    old = bundle.manifest.networks[network]
    variants = {**old.variants, precision: bundle.variant(network, like)}
    networks = {
        **bundle.manifest.networks,
        network: msgspec.structs.replace(old, variants=variants),
    }
    return store_manifest(bundle, msgspec.structs.replace(bundle.manifest, networks=networks))


def store_scores(
    bundle: Bundle,
    calibration: ScoreCalibration,
    *,
    measured: dict[str, Any],
    least_margin: float | None = None,
) -> Bundle:
    """Store a calibration of scores in a bundle.

    Args:
        bundle: The bundle to change.
        calibration: From raw scores to probabilities.
        measured: Figures of the calibration; kept as ``accuracy["scores"]``.
        least_margin: A sentence with a smaller margin of presence gets "no such moment"; None
            never says so because of a margin.

    Raises:
        OutputError: The bundle cannot be written.
    """
    provenance, bank = bundle.manifest.provenance, bundle.manifest.sentence_bank
    if bank is not None:
        bank = msgspec.structs.replace(bank, threshold=least_margin)
    accuracy = {**provenance.accuracy, "scores": measured}
    return store_manifest(
        bundle,
        msgspec.structs.replace(
            bundle.manifest,
            score_calibration=calibration,
            sentence_bank=bank,
            provenance=msgspec.structs.replace(provenance, accuracy=accuracy),
        ),
    )


def store_bank(bundle: Bundle, bank: SentenceBank, *, mean_weight: float) -> Bundle:
    """Store a sentence bank in a bundle, in place of its own; nothing is turned away by it yet.

    Args:
        bundle: The bundle to change.
        bank: The bank, of the bundle's own text network.
        mean_weight: How much of the mean text queries lose.

    Raises:
        OutputError: The bundle cannot be written.
    """
    content = bank.to_bytes()
    _write(bundle.resolve(SENTENCE_BANK_NAME), content)
    entry = SentenceBankEntry(
        file=SENTENCE_BANK_NAME,
        sha256=hashlib.sha256(content).hexdigest(),
        mean_weight=mean_weight,
    )
    return store_manifest(bundle, msgspec.structs.replace(bundle.manifest, sentence_bank=entry))


def store_reference(bundle: Bundle, reference: ReferenceFrames) -> Bundle:
    """Store frames of other videos beside a bundle's sentence bank.

    Args:
        bundle: The bundle to change.
        reference: The frames, in the space that frames and sentences share.

    Raises:
        CalibrationError: The bundle has no sentence bank.
        OutputError: The bundle cannot be written.
    """
    bank = bundle.manifest.sentence_bank
    if bank is None:
        raise CalibrationError(
            "the bundle has no sentence bank, beside which reference frames are used",
            where=bundle.path,
            remedy="Export it again from its checkpoint: vtloc-export onnx",
        )
    content = reference.to_bytes()
    _write(bundle.resolve(REFERENCE_NAME), content)
    entry = ReferenceEntry(file=REFERENCE_NAME, sha256=hashlib.sha256(content).hexdigest())
    kept = msgspec.structs.replace(bank, reference=entry)
    return store_manifest(bundle, msgspec.structs.replace(bundle.manifest, sentence_bank=kept))


def store_islands(
    bundle: Bundle, network: NetworkName, precision: str, islands: Sequence[str]
) -> Bundle:
    """Store which modules keep a higher precision; later exports read them.

    Args:
        bundle: The bundle to change.
        network: Which network.
        precision: The lower precision that they do not take part in.
        islands: Names of modules; may be empty.

    Raises:
        OutputError: The bundle cannot be written.
    """
    old = bundle.manifest.networks[network]
    chosen = {**old.islands, precision: tuple(islands)}
    networks = {**bundle.manifest.networks, network: msgspec.structs.replace(old, islands=chosen)}
    return store_manifest(bundle, msgspec.structs.replace(bundle.manifest, networks=networks))


def store_parity(bundle: Bundle, precision: str, measured: dict[str, Any]) -> Bundle:
    """Store the parity figures of a precision, and its tolerances, in a bundle.

    Args:
        bundle: The bundle to change.
        precision: Which precision.
        measured: The figures; kept as ``parity[precision]``.

    Raises:
        OutputError: The bundle cannot be written.
    """
    provenance = bundle.manifest.provenance
    noted = msgspec.structs.replace(
        provenance,
        parity={**provenance.parity, precision: measured},
        bounds={**provenance.bounds, **promises([precision])},
    )
    return store_manifest(bundle, msgspec.structs.replace(bundle.manifest, provenance=noted))


def store_manifest(bundle: Bundle, manifest: Manifest) -> Bundle:
    """Replace a bundle's manifest in one step.

    Args:
        bundle: The bundle to change.
        manifest: The new manifest.

    Raises:
        OutputError: The bundle cannot be written.
        BundleError: The manifest is not consistent.
    """
    path = bundle.path / MANIFEST_NAME
    manifest = msgspec.structs.replace(manifest, schema=SCHEMA_VERSION)
    before = path.read_bytes() if path.is_file() else None
    _write(path, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    try:
        return Bundle.open(bundle.path)
    except BundleError:
        if before is not None:
            _write(path, before)
        raise


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is either the old one or the new one, whatever happens."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"cannot write: {error.strerror}", where=path) from error
