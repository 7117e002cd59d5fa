"""Sources of an export: a checkpoint, or a bundle whose weights are read back into PyTorch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from vtloc.errors import CheckpointError
from vtloc.model import LocalizerConfig, LocalizerNetwork, load_checkpoint
from vtloc_export.graph.parameter_names import read_parameters
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import Decoding, ScoreCalibration, Windows
from vtloc_runtime.errors import BundleError
from vtloc_runtime.system.text import first_line

if TYPE_CHECKING:
    from onnx import ModelProto

    from vtloc_runtime.bundle.manifest import NetworkName

_Entry = TypeVar("_Entry", Decoding, Windows)

_TRUSTED = ("fp32", "compact", "fp16")
"""Which precision the weights are taken from, best first."""


@dataclass(frozen=True, slots=True)
class LocalizerSource:
    """A localizer with the metadata that goes into a bundle.

    Attributes:
        network: The PyTorch network, in evaluation mode.
        visual_encoder: Name of its frame encoder.
        text_encoder: Name of its text encoder.
        checkpoint_sha256: Hash of the checkpoint it came from.
        name: The bundle's name.
        license: Licence of the weights.
        training_data: What it was trained on.
        frames_per_second: How densely it was trained to see videos.
        decoding: How logits become moments.
        windows: How long videos are cut.
        score_calibration: From raw scores to probabilities, where it was calibrated.
        accuracy: What was measured, by test set.
        spared: Modules of each network that stay in FP32 in half precision, as calibration chose.
        reference: Content of the file of reference frames for absence; None where it has none.
    """

    network: LocalizerNetwork
    visual_encoder: str
    text_encoder: str
    checkpoint_sha256: str
    name: str
    license: str = "unspecified"
    training_data: str = ""
    frames_per_second: float = 1.0
    decoding: Decoding = field(default_factory=Decoding)
    windows: Windows = field(default_factory=Windows)
    score_calibration: ScoreCalibration | None = None
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    spared: Mapping[NetworkName, tuple[str, ...]] = field(default_factory=dict)
    reference: bytes | None = None


def load_source(path: Path) -> LocalizerSource:
    """Load what to export.

    Args:
        path: A checkpoint's file, or a bundle's directory.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        BundleError: The bundle is missing, altered, or does not hold the localizer's weights.
    """
    return _from_bundle(path) if path.is_dir() else _from_checkpoint(path)


def _from_checkpoint(path: Path) -> LocalizerSource:
    checkpoint = load_checkpoint(path)
    metadata = checkpoint.metadata
    return LocalizerSource(
        network=checkpoint.network.eval(),
        visual_encoder=checkpoint.visual_encoder,
        text_encoder=checkpoint.text_encoder,
        checkpoint_sha256=checkpoint.sha256,
        name=metadata.get("name", path.stem),
        license=metadata.get("license", "unspecified"),
        training_data=metadata.get("training_data", ""),
        frames_per_second=_rate(metadata, path),
        decoding=_entry(Decoding, "decoding", metadata, path),
        windows=_entry(Windows, "windows", metadata, path),
        accuracy=_accuracy(metadata),
    )


def _from_bundle(path: Path) -> LocalizerSource:
    bundle = Bundle.open(path)
    manifest, provenance = bundle.manifest, bundle.manifest.provenance
    config = LocalizerConfig.from_json(provenance.localizer)
    network = LocalizerNetwork(config)
    parameters = read_parameters(_localizer_graph(bundle))
    try:
        network.load_state_dict(parameters)
    except RuntimeError as error:
        raise BundleError(
            "the localizer's graph does not hold the weights that its configuration asks for",
            where=path,
            remedy="Export from the checkpoint",
        ) from error
    return LocalizerSource(
        network=network.eval(),
        visual_encoder=provenance.visual_encoder,
        text_encoder=provenance.text_encoder,
        checkpoint_sha256=provenance.checkpoint_sha256,
        name=manifest.name,
        license=manifest.license,
        training_data=provenance.training_data,
        frames_per_second=manifest.frames_per_second,
        decoding=manifest.decoding,
        windows=manifest.windows,
        score_calibration=manifest.score_calibration,
        accuracy=provenance.accuracy,
        spared={name: one.islands.get("fp16", ()) for name, one in manifest.networks.items()},
        reference=bundle.read(test.file, test.sha256) if (test := bundle.presence) else None,
    )


def _localizer_graph(bundle: Bundle) -> ModelProto:
    import onnx

    variants = bundle.manifest.networks["localizer"].variants
    precision = next((name for name in _TRUSTED if name in variants), None)
    if precision is None:
        raise BundleError(
            f"the localizer comes in {', '.join(sorted(variants))}; its weights are built again "
            f"from one of {', '.join(_TRUSTED)}",
            where=bundle.path,
        )
    content = bundle.onnx(variants[precision]).single("exporting again")
    try:
        model: ModelProto = onnx.load_from_string(content)
    except Exception as error:  # protobuf's DecodeError, which onnx does not export
        raise BundleError(
            f"the localizer's graph is not valid ONNX: {first_line(error)}", where=bundle.path
        ) from error
    return model


def _entry(kind: type[_Entry], name: str, metadata: Mapping[str, str], path: Path) -> _Entry:
    """A part of the manifest that a checkpoint's metadata may hold as JSON."""
    try:
        values = msgspec.json.decode(metadata.get(name, "{}"))
        if kind is Decoding and isinstance(values, dict):
            values.pop("overlap", None)  # Older trainings wrote it; moments share nothing today.
        return msgspec.convert(values, kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{name} in its metadata is not valid: {error}", where=path
        ) from error


def _rate(metadata: Mapping[str, str], path: Path) -> float:
    try:
        rate = float(metadata.get("frames_per_second", "1"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise CheckpointError(
            "frames_per_second in its metadata must be a positive number", where=path
        )
    return rate


def _accuracy(metadata: Mapping[str, str]) -> dict[str, Any]:
    measured: dict[str, Any] = {}
    try:
        measured = dict(json.loads(metadata.get("accuracy", "{}")))
    except (ValueError, TypeError):
        measured = {"stated": metadata["accuracy"]}
    if "validation_miou" in metadata:
        measured.setdefault("validation_miou", metadata["validation_miou"])
    return measured
