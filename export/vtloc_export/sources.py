"""Sources of an export: a checkpoint, a bundle whose weights are read back, or encoders' names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from vtloc.encoders.catalogue import public_encoder
from vtloc.errors import CheckpointError
from vtloc.model import LocalizerConfig, LocalizerNetwork, load_checkpoint
from vtloc_export.graph.parameter_names import read_parameters
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import Decoding, ScoreCalibration, SentenceBankEntry, Windows
from vtloc_runtime.errors import BundleError
from vtloc_runtime.system.text import first_line

if TYPE_CHECKING:
    from onnx import ModelProto

    from vtloc_runtime.bundle.manifest import NetworkName

_Entry = TypeVar("_Entry", Decoding, Windows)

_TRUSTED = ("fp32", "compact", "fp16")
"""Which precision the weights are taken from, best first."""


@dataclass(frozen=True, slots=True)
class EncoderPair:
    """Encoders to make a bundle of, without a localizer.

    Attributes:
        visual: The frame encoder's name.
        text: The text encoder's name.
    """

    visual: str
    text: str


@dataclass(frozen=True, slots=True)
class ExportSource:
    """What a bundle is made of, with the metadata that goes into it.

    Attributes:
        visual_encoder: Name of the frame encoder.
        text_encoder: Name of the text encoder.
        name: The bundle's name.
        network: The localizer in PyTorch, in evaluation mode; None where the encoders answer by
            similarity alone.
        checkpoint_sha256: Hash of the checkpoint it came from; empty without one.
        license: Licence of the weights.
        training_data: What it was trained on.
        frames_per_second: How densely it was trained to see videos.
        decoding: How logits become moments.
        windows: How long videos are cut.
        score_calibration: From raw scores to probabilities, where it was calibrated.
        accuracy: What was measured, by test set.
        spared: Modules of each network that stay in FP32 in half precision, as calibration chose.
        kept: Content of the files that an exported bundle compares sentences with, by their paths.
        sentence_bank: How an exported bundle uses its sentence bank; None where it has none.
    """

    visual_encoder: str
    text_encoder: str
    name: str
    network: LocalizerNetwork | None = None
    checkpoint_sha256: str = ""
    license: str = "unspecified"
    training_data: str = ""
    frames_per_second: float = 1.0
    decoding: Decoding = field(default_factory=Decoding)
    windows: Windows = field(default_factory=Windows)
    score_calibration: ScoreCalibration | None = None
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    spared: Mapping[NetworkName, tuple[str, ...]] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)
    sentence_bank: SentenceBankEntry | None = None


def load_source(source: Path | EncoderPair) -> ExportSource:
    """Load what to export; encoders themselves are loaded later, by their names.

    Args:
        source: A checkpoint's file, a bundle's directory, or encoders' names.

    Raises:
        CheckpointError: The checkpoint is missing or damaged.
        BundleError: The bundle is missing, altered, or does not hold the localizer's weights.
    """
    if isinstance(source, EncoderPair):
        return _from_encoders(source)
    return _from_bundle(source) if source.is_dir() else _from_checkpoint(source)


def _from_encoders(pair: EncoderPair) -> ExportSource:
    known = public_encoder(pair.visual) if pair.visual == pair.text else None
    return ExportSource(
        visual_encoder=pair.visual,
        text_encoder=pair.text,
        name=_title(pair.visual),
        license="unspecified" if known is None else known.license,
        decoding=Decoding(strategy="similarity"),
    )


def _title(encoder: str) -> str:
    """A bundle's name for people: the encoder's model and tag, without a file's path."""
    parts = encoder.split(":")[1:]
    named = [part for part in parts if "/" not in part and part not in {"local-dir", "hf-hub"}]
    return " ".join(named) or encoder.rstrip("/").rpartition("/")[2]


def _from_checkpoint(path: Path) -> ExportSource:
    checkpoint = load_checkpoint(path)
    metadata = checkpoint.metadata
    return ExportSource(
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


def _from_bundle(path: Path) -> ExportSource:
    bundle = Bundle.open(path)
    manifest, provenance = bundle.manifest, bundle.manifest.provenance
    return ExportSource(
        network=_localizer(bundle) if "localizer" in manifest.networks else None,
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
        kept={one.file: bundle.read(one.file, one.sha256) for one in bundle.compared_files()},
        sentence_bank=manifest.sentence_bank,
    )


def _localizer(bundle: Bundle) -> LocalizerNetwork:
    network = LocalizerNetwork(LocalizerConfig.from_json(bundle.manifest.provenance.localizer))
    parameters = read_parameters(_localizer_graph(bundle))
    try:
        network.load_state_dict(parameters)
    except RuntimeError as error:
        raise BundleError(
            "the localizer's graph does not hold the weights that its configuration asks for",
            where=bundle.path,
            remedy="Export from the checkpoint",
        ) from error
    return network.eval()


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
