"""One short hash of everything that answers depend on; runs that share it can share results."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.localize.encoding.frame_dedup import DEFAULT_REUSE, RULE
from vtloc_runtime.networks.onnxruntime_backend import uses_tf32

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle
    from vtloc_runtime.networks.load import Placement

_DIGITS = 12


def run_fingerprint(
    bundle: Bundle,
    placement: Placement,
    *,
    decoding: str | None,
    moments: int,
    fine: bool = False,
    reuse: float = DEFAULT_REUSE,
    quick: bool = False,
) -> str:
    """Hash everything that answers depend on, except the videos and sentences.

    Args:
        bundle: The bundle.
        placement: Where its networks run, and in which precisions.
        decoding: The decoding strategy; None takes the bundle's own.
        moments: Number of moments for each sentence.
        fine: Whether ends are looked at again.
        reuse: Most grey levels by which frames that share features may differ.
        quick: Whether only a part of each video is looked at.

    Returns:
        Twelve hexadecimal digits.
    """
    manifest = bundle.manifest
    parts: tuple[object, ...] = (
        list(placement.hashes(bundle).values()),
        manifest.tokenizer,
        manifest.preprocessing,
        manifest.frames_per_second,
        manifest.shared_space,
        manifest.decoding,
        manifest.windows,
        manifest.score_calibration,
        decoding or manifest.decoding.strategy,
        placement.backend,
        # A run may resume on another GPU, but not on a CPU, which rounds differently.
        placement.device.partition(":")[0],
        moments,
        reuse and (RULE, reuse),
    )
    if manifest.sentence_bank is not None:
        parts = (*parts, manifest.sentence_bank)
    if placement.backend == "onnxruntime" and placement.device != "cpu" and uses_tf32():
        parts = (*parts, "tf32")
    if fine:
        parts = (*parts, "fine")
    if quick:
        parts = (*parts, "quick")
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:_DIGITS]
