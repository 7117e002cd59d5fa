"""What the machine offers for engines: the TensorRT flavours, cuda-core, and the GPU.

Nothing here imports TensorRT before it is asked for, and the package imports without a GPU.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.bundle.engine_file import EngineTarget, Flavour
from vtloc_runtime.errors import BackendError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("vtloc.tensorrt")

FLAVOURS: tuple[Flavour, ...] = ("tensorrt", "tensorrt-rtx")
_MODULES: dict[Flavour, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_KEPT_MESSAGES = 32


@dataclass(frozen=True, slots=True)
class TensorrtApi:
    """One flavour of TensorRT, imported.

    Attributes:
        flavour: Which one.
        version: Its version.
        module: The Python module; its names are checked against the real bindings by a test.
    """

    flavour: Flavour
    version: str
    module: Any


def import_flavour(flavour: Flavour) -> TensorrtApi:
    """Import a flavour of TensorRT.

    Raises:
        MissingExtraError: It is not installed, or its libraries do not load.
    """
    name = _MODULES[flavour]
    missing = MissingExtraError.of(name, extra=flavour, purpose=f"the backend {flavour}")
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise missing from error
    # A package of type stubs alone leaves an empty namespace of the same name behind.
    if not hasattr(module, "Runtime"):
        raise missing
    return TensorrtApi(flavour, str(module.__version__), module)


def installed_flavours() -> dict[Flavour, TensorrtApi]:
    """The flavours of TensorRT that load here."""
    found: dict[Flavour, TensorrtApi] = {}
    for flavour in FLAVOURS:
        try:
            found[flavour] = import_flavour(flavour)
        except MissingExtraError:
            continue
    return found


def import_cuda() -> Any:
    """Import cuda-core.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("cuda.core")
    except ImportError as error:
        raise MissingExtraError.of(
            "cuda-core", extra="tensorrt", purpose="running TensorRT engines"
        ) from error


def device_ordinal(name: str) -> int:
    """The ordinal in a device's name: ``"cuda"`` is 0, ``"cuda:1"`` is 1.

    Raises:
        BackendError: The name is not a CUDA device's.
    """
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
        raise BackendError(
            f"TensorRT runs on CUDA devices, not on {name!r}",
            remedy="Name a device such as cuda or cuda:1",
        )
    return int(number or 0)


def open_device(cuda: Any, ordinal: int) -> Any:
    """A CUDA device, current on this thread.

    Raises:
        BackendError: There is no such device, or the driver does not answer.
    """
    try:
        device = cuda.Device(ordinal)
        device.set_current()
    except Exception as error:  # cuda-core raises its own, undocumented types
        raise BackendError(
            f"no NVIDIA GPU answers as cuda:{ordinal}: {_first_line(error)}",
            remedy="Check the driver with nvidia-smi, or use --backend onnxruntime",
        ) from error
    return device


def describe_device(cuda: Any, device: Any) -> EngineTarget:
    """The machine as engines name it: compute capability, GPU and driver."""
    capability = device.compute_capability
    try:
        driver = ".".join(str(part) for part in cuda.system.get_kernel_mode_driver_version())
    except Exception:  # NVML is absent in some containers; the CUDA driver's version is not
        log.debug("NVML gives no driver version", exc_info=True)
        driver = "cuda-" + ".".join(
            str(part) for part in cuda.system.get_user_mode_driver_version()
        )
    return EngineTarget(
        sm=f"sm{capability.major}{capability.minor}", gpu=device.name, driver=driver
    )


def numpy_dtype(api: TensorrtApi, dtype: Any) -> np.dtype[Any]:
    """The numpy dtype of a TensorRT tensor.

    Raises:
        BackendError: numpy has no such type (bfloat16, FP8, FP4).
    """
    try:
        kind: type[np.generic] = api.module.nptype(dtype)
    except TypeError as error:
        raise BackendError(
            f"a tensor of the engine has the type {dtype}, which numpy lacks"
        ) from error
    return np.dtype(kind)


def one_line(text: str) -> str:
    """A message on one line, as errors are shown."""
    return " ".join(text.split())


class MessageKeeper:
    """Keeps what TensorRT logs, so that errors can say why.

    Messages of each thread are kept apart: a failing call finds its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._messages: deque[tuple[int, str]] = deque(maxlen=_KEPT_MESSAGES)

    def add(self, message: str) -> None:
        """Keep an error of the calling thread."""
        with self._lock:
            self._messages.append((threading.get_ident(), one_line(message)))

    def drain(self) -> str:
        """The calling thread's messages, or everybody's where it has none; then forget them."""
        thread = threading.get_ident()
        with self._lock:
            own = [message for owner, message in self._messages if owner == thread]
            taken = own or [message for _, message in self._messages]
            kept = [item for item in self._messages if own and item[0] != thread]
            self._messages.clear()
            self._messages.extend(kept)
        return "; ".join(dict.fromkeys(taken)) or "TensorRT gave no reason"


def make_logger(
    api: TensorrtApi, keeper: MessageKeeper, record: Callable[[str], None] | None = None
) -> Any:
    """A TensorRT logger that keeps errors and hands everything to Python's ``logging``.

    Args:
        api: The flavour of TensorRT.
        keeper: Where errors are kept.
        record: Also gets every message of level INFO and above, as a line.
    """
    trt = api.module
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
        trt.ILogger.Severity.INFO: logging.INFO,
        trt.ILogger.Severity.VERBOSE: logging.DEBUG,
    }

    base: Any = trt.ILogger

    class KeepingLogger(base):  # type: ignore[misc]  # the base is known only at run time
        def __init__(self) -> None:
            base.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            level = levels[severity]
            if level >= logging.ERROR:
                keeper.add(msg)
            if record is not None and level >= logging.INFO:
                record(f"[{logging.getLevelName(level)}] {msg}")
            # What went wrong reaches the user as an error; the log is for who asks for it.
            log.log(min(level, logging.INFO), "%s", msg)

    return KeepingLogger()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
