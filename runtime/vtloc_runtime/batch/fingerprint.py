"""One short hash of everything that answers depend on; runs that share it can share results."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.bundle.manifest import NETWORK_NAMES
from vtloc_runtime.localize.frame_dedup import DEFAULT_REUSE, RULE
from vtloc_runtime.networks.load import preferred_precision, resolve_device
from vtloc_runtime.networks.onnxruntime_backend import uses_tf32

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle

_DIGITS = 12


def run_fingerprint(
    bundle: Bundle,
    *,
    backend: str,
    device: str | None,
    precision: str | None,
    decoding: str | None,
    moments: int,
    reuse: float = DEFAULT_REUSE,
) -> str:
    """Hash everything that answers depend on, except the videos and sentences.

    Raises:
        BackendError: The backend is unknown, or does not run on the device.
        BundleError: The bundle lacks the precision.
    """
    place = resolve_device(backend, device)
    manifest = bundle.manifest
    files = []
    for network in NETWORK_NAMES:
        chosen = precision or preferred_precision(bundle, network, backend=backend, device=place)
        files.append(bundle.variant(network, chosen).sha256)
    parts: tuple[object, ...] = (
        files,
        manifest.tokenizer,
        manifest.preprocessing,
        manifest.frames_per_second,
        manifest.shared_space,
        manifest.decoding,
        manifest.windows,
        manifest.score_calibration,
        decoding or manifest.decoding.strategy,
        backend,
        # A run may resume on another GPU, but not on a CPU, which rounds differently.
        place.partition(":")[0],
        moments,
        reuse and (RULE, reuse),
    )
    if backend == "onnxruntime" and place != "cpu" and uses_tf32():
        parts = (*parts, "tf32")
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:_DIGITS]
