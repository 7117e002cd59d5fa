"""What a manifest may say: every value within its range, and none against another."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from vtloc_runtime.bundle.manifest import ENCODER_NAMES, Manifest, NetworkName
from vtloc_runtime.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.bundle.manifest import (
        NetworkEntry,
        NetworkFile,
        ScoreCalibration,
        SentenceBankEntry,
    )

MOST_FRAMES_PER_SECOND = 240.0
LEAST_FRAMES_PER_SECOND = 1 / 3600

_LARGEST_SIDE = 4096
_LONGEST_SENTENCE = 65_536
_LONGEST_WINDOW = 1 << 20
_SHORTEST_MOMENT, _LONGEST_MOMENT = 1e-3, 1e6
_LARGEST_WIDTH = 1 << 24
_LARGEST_ID = 2**31 - 1
_LARGEST_WEIGHT = 1e6
_LARGEST_MARGIN = 10.0
_LONGEST_PATH, _LONGEST_NAME = 1024, 255
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DTYPES = frozenset({"float32", "float16", "float64", "uint8", "int8", "int32", "int64", "bool"})
_SIGNATURES: dict[NetworkName, tuple[dict[str, int], dict[str, int]]] = {
    "visual": ({"frames": 4}, {"features": 2}),
    "text": ({"token_ids": 2, "token_mask": 2}, {"tokens": 3, "sentence": 2}),
    "localizer": (
        {"features": 3, "frame_mask": 2, "tokens": 3, "token_mask": 2},
        {"start_logits": 2, "end_logits": 2},
    ),
}
"""Inputs and outputs that every network must have, with their number of axes."""


def check_manifest(manifest: Manifest, folder: Path) -> None:
    """Refuse a manifest with a value that is invalid, or that contradicts another.

    Args:
        manifest: What was read.
        folder: The bundle's directory, for messages.

    Raises:
        BundleError: The first fault, with the value concerned.
    """
    fault = next(_faults(manifest), None)
    if fault is not None:
        raise BundleError(
            fault,
            where=folder,
            remedy="Export the bundle again with: vtloc-export onnx CHECKPOINT --out BUNDLE",
        )


def path_fault(file: str) -> str | None:
    """What is wrong with a path inside a bundle; None where nothing is.

    Args:
        file: A relative path with forward slashes.
    """
    if not file or len(file) > _LONGEST_PATH:
        return f"a path of {len(file)} characters cannot be a file of the bundle"
    if not file.isprintable():
        return f"the path {file!r} holds characters that no file of a bundle may have"
    if "\\" in file:
        return f"the path {file!r} holds a backslash; a manifest uses forward slashes"
    parts = file.split("/")
    if ".." in parts or file.startswith("/"):
        return f"the path {file!r} leads out of the bundle"
    if not all(0 < len(part.encode()) <= _LONGEST_NAME and part != "." for part in parts):
        return f"the path {file[:80]!r} names no file"
    return None


def _faults(manifest: Manifest) -> Iterator[str]:
    if missing := set(ENCODER_NAMES) - manifest.networks.keys():
        yield f"the manifest names no {', '.join(sorted(missing))} network"
        return
    if "localizer" not in manifest.networks:
        yield from _missing_localizer_faults(manifest)
    for name, network in manifest.networks.items():
        for fault in _network_faults(name, network, manifest.preprocessing.size):
            yield f"the {name} network: {fault}"
    tokenizer = manifest.tokenizer
    yield from _file_faults(tokenizer.file, tokenizer.sha256)
    seconds = manifest.windows.seconds
    seconds = _SHORTEST_MOMENT if seconds is None else seconds
    yield from _ranges(
        ("frames_per_second", manifest.frames_per_second, LEAST_FRAMES_PER_SECOND,
         MOST_FRAMES_PER_SECOND),
        ("preprocessing.size", manifest.preprocessing.size, 1, _LARGEST_SIDE),
        ("routing_iterations", manifest.routing_iterations, 0, 100),
        ("tokenizer.max_tokens", tokenizer.max_tokens, 1, _LONGEST_SENTENCE),
        ("tokenizer.pad_id", tokenizer.pad_id, 0, _LARGEST_ID),
        ("windows.frames", manifest.windows.frames, 1, _LONGEST_WINDOW),
        ("windows.overlap", manifest.windows.overlap, 0, manifest.windows.frames - 1),
        ("windows.seconds", seconds, _SHORTEST_MOMENT, _LONGEST_MOMENT),
        ("decoding.similarity_weight", manifest.decoding.similarity_weight, 0, _LARGEST_WEIGHT),
    )  # fmt: skip
    yield from _shared_space_faults(manifest)
    if manifest.sentence_bank is not None:
        yield from _bank_faults(manifest.sentence_bank, shared=manifest.shared_space is not None)
    if manifest.score_calibration is not None:
        yield from _calibration_faults(manifest.score_calibration)


def _missing_localizer_faults(manifest: Manifest) -> Iterator[str]:
    if manifest.shared_space is None:
        yield (
            "it has no localizer network, and no space in which frames and sentences could be "
            "compared instead"
        )
    if manifest.decoding.strategy != "similarity":
        yield (
            f"it has no localizer network, which decoding by {manifest.decoding.strategy} needs; "
            "without one, moments are found by similarity"
        )
    if manifest.routing_iterations:
        yield (
            f"it has no localizer network, so routing_iterations is 0, "
            f"not {manifest.routing_iterations}"
        )


def _bank_faults(bank: SentenceBankEntry, *, shared: bool) -> Iterator[str]:
    if not shared:
        yield "a sentence bank needs a space that frames and sentences share"
    yield from _file_faults(bank.file, bank.sha256)
    if bank.reference is not None:
        yield from _file_faults(bank.reference.file, bank.reference.sha256)
    yield from _ranges(("sentence_bank.mean_weight", bank.mean_weight, 0, 1))
    if bank.threshold is not None:
        yield from _ranges(
            ("sentence_bank.threshold", bank.threshold, -_LARGEST_MARGIN, _LARGEST_MARGIN)
        )


def _ranges(*rows: tuple[str, float, float, float]) -> Iterator[str]:
    for name, value, low, high in rows:
        # Written so that NaN is refused too.
        if not low <= value <= high:
            yield f"{name} is {value:g}; it lies between {low:g} and {high:g}"


def _file_faults(file: str, sha256: str) -> Iterator[str]:
    if fault := path_fault(file):
        yield fault
    if not _SHA256.fullmatch(sha256):
        yield f"the sha256 of {file[:80]!r} is not 64 lower-case hexadecimal digits"


def _network_faults(name: NetworkName, network: NetworkEntry, side: int) -> Iterator[str]:
    if not network.variants:
        yield "it comes in no precision"
    for width, length in network.dims.items():
        yield from _ranges((f"dims.{width}", length, 1, _LARGEST_WIDTH))
    for precision, file in network.variants.items():
        yield from _file_faults(file.file, file.sha256)
        for external in file.external:
            yield from _file_faults(external.file, external.sha256)
            yield from _ranges((f"bytes of {external.file[:80]!r}", external.bytes, 0, 2**63 - 1))
        for fault in _tensor_faults(name, file):
            yield f"{precision}: {fault}"
        if name == "visual" and not _takes_side(file, side):
            yield f"{precision}: its frames do not have preprocessing.size, {side} pixels"


def _tensor_faults(name: NetworkName, file: NetworkFile) -> Iterator[str]:
    inputs, outputs = _SIGNATURES[name]
    for kind, entries, wanted in (
        ("input", file.inputs, inputs),
        ("output", file.outputs, outputs),
    ):
        found = {entry.name: len(entry.shape) for entry in entries}
        if len(found) < len(entries):
            yield f"an {kind} is named twice"
        for tensor, axes in wanted.items():
            if found.get(tensor) != axes:
                yield f"it has no {kind} {tensor!r} with {axes} axes"
        if kind == "input" and (more := found.keys() - wanted.keys()):
            yield f"it takes {', '.join(sorted(more))}, which the runtime does not give"
        for entry in entries:
            if entry.dtype not in _DTYPES:
                yield f"{entry.name[:80]!r} has the dtype {entry.dtype[:40]!r}"
            for axis in entry.shape:
                if isinstance(axis, int) and not 0 < axis <= _LARGEST_WIDTH:
                    yield f"{entry.name[:80]!r} has an axis of length {axis}"


def _takes_side(file: NetworkFile, side: int) -> bool:
    shape = next((entry.shape for entry in file.inputs if entry.name == "frames"), ())
    return all(axis == side for axis in shape[1:3] if isinstance(axis, int))


def _shared_space_faults(manifest: Manifest) -> Iterator[str]:
    shared = manifest.shared_space
    if shared is None:
        if manifest.decoding.strategy in {"similarity", "combined"}:
            yield "decoding by similarity needs a shared space"
        return
    widths = {name: network.dims for name, network in manifest.networks.items()}
    if not 0 <= shared.start < shared.stop:
        yield f"the shared space runs from {shared.start} to {shared.stop}"
    elif shared.stop - shared.start != widths["text"].get("sentence") or shared.stop > widths[
        "visual"
    ].get("feature", 0):
        yield "the shared space does not fit the networks' widths"


def _calibration_faults(calibration: ScoreCalibration) -> Iterator[str]:
    raw, probability = calibration.raw, calibration.probability
    if (
        not raw
        or len(raw) != len(probability)
        or not all(map(math.isfinite, raw))
        or not all(one < other for one, other in pairwise(raw))
    ):
        yield "the score calibration must map rising scores to probabilities"
    if not all(0 <= one <= 1 for one in probability) or not all(
        one <= other for one, other in pairwise(probability)
    ):
        yield "the calibration's probabilities do not rise within 0 and 1"
    if calibration.threshold is not None:
        yield from _ranges(("score_calibration.threshold", calibration.threshold, 0, 1))
    yield from _ranges(
        ("score_calibration.margin_weight", calibration.margin_weight, 0, _LARGEST_WEIGHT)
    )
