"""The networks that TensorRT builds from, where a bundle comes without them: made again from it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_export.options import ExportOptions
from vtloc_export.signatures import PRECISIONS, Precision
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.bundle.user_folder import TENSORRT_PRECISIONS, user_folder
from vtloc_runtime.errors import BundleError, MissingExtraError

if TYPE_CHECKING:
    from vtloc_export.bundle_export import ExportProgress


@dataclass(frozen=True, slots=True)
class HalfNetworks:
    """A bundle that TensorRT can build from.

    Attributes:
        bundle: The bundle asked for, or the one in the user's cache that was made from it.
        seconds: How long making it took; 0 where it was there.
    """

    bundle: Bundle
    seconds: float = 0.0


def networks_for_tensorrt(
    bundle: Bundle, precision: str, progress: ExportProgress | None = None
) -> HalfNetworks:
    """A bundle with the networks in a precision that TensorRT builds.

    Where the bundle lacks them, they are exported again from it, with every check of an export,
    into the user's cache folder; the bundle itself stays as it is.

    Args:
        bundle: The bundle.
        precision: ``"fp16"`` or ``"fp32"``.
        progress: Called with a line for every step of an export.

    Raises:
        BundleError: There is no such precision, or the bundle cannot be exported from.
        MissingExtraError: PyTorch or an encoder's package is not installed.
        ParityError: The new networks' answers differ from the bundle's.
        OutputError: The cache folder cannot be written.
    """
    if _holds(bundle, precision):
        return HalfNetworks(bundle)
    precisions: list[Precision] = [name for name in PRECISIONS if name == precision]
    if precision not in TENSORRT_PRECISIONS:
        found = sorted({name for one in bundle.manifest.networks.values() for name in one.variants})
        raise BundleError(
            f"the bundle comes in {', '.join(found)}, not {precision}",
            where=bundle.path,
            remedy=f"Use --precision {' or '.join(TENSORRT_PRECISIONS)}",
        )
    folder = user_folder(bundle.path)
    if (folder / MANIFEST_NAME).is_file():
        made = Bundle.open(folder)
        # Those of an older version name no source.
        own = made.manifest.provenance.source_digest in {"", bundle.manifest_digest}
        if own and _holds(made, precision):
            return HalfNetworks(made)
        precisions = ["fp32", "fp16"]
    try:
        from vtloc_export.bundle_export import export_bundle
    except ImportError as error:
        raise MissingExtraError.for_package(
            str(error.name), extra="default-bundle", purpose="making FP16 networks"
        ) from error
    began = time.perf_counter()
    options = ExportOptions(
        precisions=tuple(precisions), overwrite=True, source_digest=bundle.manifest_digest
    )
    report = export_bundle(bundle.path, folder, options, progress)
    return HalfNetworks(report.bundle, time.perf_counter() - began)


def _holds(bundle: Bundle, precision: str) -> bool:
    return all(precision in network.variants for network in bundle.manifest.networks.values())
