"""What this machine can run, and why not the rest: found by trying, not by guessing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.cli.diagnosis.bundle import open_bundle, try_service
from vtloc_runtime.cli.diagnosis.decoding import decoder_sandbox, gpu_decoding, video_decoding
from vtloc_runtime.cli.diagnosis.findings import Diagnosis
from vtloc_runtime.cli.diagnosis.installation import (
    cuda_mismatches,
    gpu_driver,
    packages,
    processor,
)

if TYPE_CHECKING:
    from pathlib import Path

_SERVICES = (("onnxruntime", "cpu"), ("onnxruntime", "cuda"), ("tensorrt", "cuda"))


def diagnose(bundle: str | Path | None = None, *, digest: str | None = None) -> Diagnosis:
    """Look at the machine, the installed packages and a bundle.

    Args:
        bundle: The bundle's directory; None looks at the one that ships with the project.
        digest: The digest that the bundle must have; None takes any.
    """
    findings = [processor(), *packages(), gpu_driver(), *cuda_mismatches()]
    findings += [video_decoding(), decoder_sandbox(), gpu_decoding()]
    opened, bundle_findings = open_bundle(bundle, digest)
    services = () if opened is None else tuple(try_service(opened, *one) for one in _SERVICES)
    return Diagnosis((*findings, *bundle_findings), services)
