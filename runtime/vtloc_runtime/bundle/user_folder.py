"""Where engines go when a bundle cannot hold them, and bundles that were made ready for TensorRT.

A bundle that was installed with a package is never written to. What is made from it lies in the
user's cache, in a folder named after the bundle and the hash of its manifest.
"""

from __future__ import annotations

import hashlib
import os
import re
import sysconfig
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.errors import BundleError

if TYPE_CHECKING:
    from vtloc_runtime.bundle.bundle import Bundle

TENSORRT_PRECISIONS = ("fp16", "fp32")
"""What TensorRT builds, best first; it refuses weights stored as integers and unsigned INT8."""


def user_folder(bundle: Path) -> Path:
    """The folder of the user's that belongs to a bundle; it need not exist.

    Args:
        bundle: The bundle's folder, which holds a manifest.
    """
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    content = (bundle / MANIFEST_NAME).read_bytes()
    name = re.sub(r"[^a-z0-9]+", "-", bundle.name.lower()).strip("-") or "bundle"
    return Path(home) / "vtloc" / "bundles" / f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def is_installed(bundle: Path) -> bool:
    """Whether a bundle belongs to an installed package, or cannot be written to."""
    packages = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    place = bundle.resolve()
    return any(place.is_relative_to(one) for one in packages) or not os.access(place, os.W_OK)


def bundle_for(bundle: Bundle, backend: str) -> Bundle:
    """The bundle that a backend runs: for TensorRT, the one that ``vtloc-export trt`` made of it.

    Args:
        bundle: The bundle that was asked for.
        backend: ``"onnxruntime"`` or ``"tensorrt"``.

    Returns:
        The bundle itself where it holds networks for the backend; otherwise the FP16 networks of
        the user's folder, with all other settings as in ``bundle``.

    Raises:
        BundleError: TensorRT is asked for and nothing was made for it yet, or, of a bundle that is
            pinned by its digest, from another bundle.
    """
    if backend != "tensorrt" or serves_tensorrt(bundle):
        return bundle
    folder = user_folder(bundle.path)
    if not (folder / MANIFEST_NAME).is_file():
        found = sorted({name for one in bundle.manifest.networks.values() for name in one.variants})
        raise BundleError(
            f"it comes in {', '.join(found)}, which TensorRT does not build",
            where=bundle.path,
            remedy="Make its FP16 networks and their engines, in your cache folder, with: "
            f"vtloc-export trt {bundle.path}",
        )
    made = type(bundle).open(folder)
    if bundle.pinned:
        if made.manifest.provenance.source_digest != bundle.manifest_digest:
            raise BundleError(
                "these networks were made from another bundle than the one whose digest was asked "
                "for",
                where=folder,
                remedy="Remove the folder, and make them again with: "
                f"vtloc-export trt {bundle.path}",
            )
        made = replace(made, pinned=True)
    manifest = msgspec.structs.replace(
        bundle.manifest,
        networks=made.manifest.networks,
        tokenizer=made.manifest.tokenizer,
    )
    return replace(made, manifest=manifest)


def serves_tensorrt(bundle: Bundle) -> bool:
    """Whether every network comes in a precision that TensorRT builds."""
    return all(
        set(TENSORRT_PRECISIONS) & network.variants.keys()
        for network in bundle.manifest.networks.values()
    )
