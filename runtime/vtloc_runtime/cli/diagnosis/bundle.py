"""A bundle: its files, its engines, and the backends that run it here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE_DIGEST, Bundle
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.cli.diagnosis.findings import Finding, Service
from vtloc_runtime.errors import VtlocError
from vtloc_runtime.localize.presence.comparison import Comparison
from vtloc_runtime.networks.tensorrt.engine_choice import list_engines

if TYPE_CHECKING:
    from pathlib import Path


def open_bundle(path: str | Path | None, digest: str | None) -> tuple[Bundle | None, list[Finding]]:
    """Open a bundle and check every file of it; None if it is not valid, and what was found.

    Args:
        path: The bundle's directory; None takes the one that ships with the project.
        digest: The digest that it must have; None takes any.
    """
    try:
        bundle = Bundle.open(path, digest=digest)
        for network in bundle.manifest.networks.values():
            for variant in network.variants.values():
                bundle.onnx(variant)
        bundle.tokenizer()
        Comparison.of_bundle(bundle)
    except VtlocError as error:
        detail = f"{error.where}: {error.what}" if error.where else error.what
        return None, [Finding("bundle", "problem", detail, error.remedy or "")]
    precisions = {
        name: "/".join(sorted(network.variants))
        for name, network in bundle.manifest.networks.items()
    }
    detail = ", ".join(f"{name} {found}" for name, found in precisions.items())
    findings = [Finding("bundle", "ok", f"{bundle.manifest.name}, every hash right: {detail}")]
    findings.append(Finding("bundle digest", "ok", _digest(bundle)))
    findings.append(engines(bundle))
    return bundle, findings


def engines(bundle: Bundle) -> Finding:
    """What TensorRT would run, and what was compiled ahead of time and runs on no A100 or H100."""
    build = f"vtloc-export trt {bundle.path}"
    try:
        made = bundle_for(bundle, "tensorrt")
        listed = list_engines(made)
    except VtlocError as error:
        return Finding("engines", "absent", f"only needed for TensorRT: {error.what}", build)
    if not listed:
        return Finding("engines", "absent", "only needed for TensorRT", build)
    ahead = [one for one in listed if one.identity.flavour == "tensorrt-rtx"]
    names = ", ".join(engine.plan_path.name for engine in listed)
    note = "; those named rtx were compiled ahead of time, for RTX GPUs" if ahead else ""
    return Finding("engines", "ok", f"{names} in {made.engines}{note}")


def _digest(bundle: Bundle) -> str:
    if bundle.pinned:
        return f"{bundle.digest}, as asked for"
    shipped = bundle.digest == DEFAULT_BUNDLE_DIGEST
    return f"{bundle.digest}{', as it was shipped' if shipped else ''}"


def try_service(bundle: Bundle, backend: str, device: str) -> Service:
    """Open the bundle in one way and ask it two sentences, unequal so that one is padded."""
    from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
    from vtloc_runtime.localize.localizer import Localizer

    size = bundle.manifest.preprocessing.size
    try:
        with Localizer.open(bundle, backend=backend, device=device) as localizer:
            features = localizer.encoder.run(np.zeros((2, size, size, 3), dtype=np.uint8))
            video = EncodedVideo(features, np.arange(2.0), 2.0)
            localizer.localize(video, ["a door", "a person opens the door of a car"])
            return Service(backend, device, serves=True, detail=f"answered on {localizer.backend}")
    except VtlocError as error:
        detail = f"{error.where}: {error.what}" if error.where else error.what
        return Service(backend, device, serves=False, detail=detail, remedy=error.remedy or "")
    except Exception as error:
        if os.environ.get("VTLOC_DEBUG"):
            raise
        detail = f"{type(error).__name__}: {error}"
        return Service(backend, device, serves=False, detail=detail)
