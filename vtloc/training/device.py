"""Where to compute."""

from __future__ import annotations

import torch

from vtloc_runtime.errors import BackendError


def training_device(name: str) -> torch.device:
    """A device by name; ``auto`` is a GPU where there is one.

    Raises:
        BackendError: The device is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendError(f"there is no device {name!r}", where="device") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            "there is no CUDA device", where="device", remedy="Use the device cpu or auto"
        )
    return device
