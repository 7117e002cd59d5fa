"""What the machine offers for engines: the TensorRT flavours, cuda-core, and the GPU.

Nothing here imports TensorRT before it is asked for, and the package imports without a GPU.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc_runtime.bundle.engine_file import EngineTarget, Flavour
from vtloc_runtime.errors import BackendError, MissingExtraError
from vtloc_runtime.system.installation import install_command
from vtloc_runtime.system.nvidia_driver import cuda_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    missing = MissingExtraError.for_package(name, extra=flavour, purpose=f"the backend {flavour}")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing from error
    except Exception as error:  # its libraries may fail to load in any way, RuntimeError included
        raise MissingExtraError(
            f"{name} is installed but does not load: {_first_line(error)}",
            remedy=f"Install the build for this driver: {install_command(flavour)}",
        ) from error
    # A package of type stubs alone leaves an empty namespace of the same name behind.
    if not hasattr(module, "Runtime"):
        raise missing
    return TensorrtApi(flavour, str(module.__version__), module)


def is_installed(flavour: Flavour) -> bool:
    """Whether a flavour's package can be found; nothing is imported."""
    name = _MODULES[flavour]
    if name in sys.modules:
        return sys.modules[name] is not None
    return importlib.util.find_spec(name) is not None


def import_cuda() -> Any:
    """Import cuda-core.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        return importlib.import_module("cuda.core")
    except ImportError as error:
        raise MissingExtraError.for_package(
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
    return EngineTarget(
        sm=f"sm{capability.major}{capability.minor}", gpu=device.name, driver=_driver(cuda)
    )


def _driver(cuda: Any) -> str | None:
    """The driver's release, such as ``580.65.06``; its CUDA version where NVML is missing."""
    try:
        first, *rest = cuda.system.get_kernel_mode_driver_version()
        return ".".join((str(first), *(f"{part:02}" for part in rest)))
    except Exception:  # containers without the capability "utility" have no NVML
        log.debug("NVML gives no driver version", exc_info=True)
    found = cuda_version()
    return None if found is None else f"CUDA {found[0]}.{found[1]}"


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


class Messages:
    """A flavour's one logger in this process, and what it kept.

    TensorRT holds on to the first logger that it is given, so there is one for the life of the
    process: it outlives every engine and builder.

    Args:
        api: The flavour of TensorRT.

    Attributes:
        logger: What TensorRT logs to.
    """

    def __init__(self, api: TensorrtApi) -> None:
        self._keeper = MessageKeeper()
        self._record: Callable[[str], None] | None = None
        self.logger = _make_logger(api, self._add)

    def drain(self) -> str:
        """Errors of the calling thread, or everybody's where it has none; then forget them."""
        return self._keeper.drain()

    @contextmanager
    def recorded(self, record: Callable[[str], None]) -> Iterator[None]:
        """Also hand every message of level INFO and above to ``record``, as a line."""
        self._record = record
        try:
            yield
        finally:
            self._record = None

    def _add(self, level: int, message: str) -> None:
        if level >= logging.ERROR:
            self._keeper.add(message)
        record = self._record
        if record is not None and level >= logging.INFO:
            record(f"[{logging.getLevelName(level)}] {message}")
        # What went wrong reaches the user as an error; the log is for who asks for it.
        log.log(min(level, logging.INFO), "%s", message)


_MESSAGES: dict[int, tuple[Any, Messages]] = {}
_MESSAGES_LOCK = threading.Lock()


def messages_of(api: TensorrtApi) -> Messages:
    """The messages of a flavour, made with its logger at the first call in this process."""
    with _MESSAGES_LOCK:
        module, found = _MESSAGES.get(id(api.module), (None, None))
        if module is not api.module or found is None:
            found = Messages(api)
            _MESSAGES[id(api.module)] = (api.module, found)
        return found


def _make_logger(api: TensorrtApi, add: Callable[[int, str], None]) -> Any:
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
            add(levels[severity], msg)

    return KeepingLogger()


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
