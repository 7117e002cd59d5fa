"""The double of TensorRT on the real cuda-core, which runs on the stand-in driver."""

from __future__ import annotations

import ctypes
import importlib.machinery
import sys
from typing import Any

import numpy as np

from tests.support.tensorrt_double import build, execution
from tests.support.tensorrt_double.gpu import Machine, RuleBroken

COUNTS = (
    "streams", "graphs", "executables", "device_blocks", "host_blocks", "events", "launches",
    "runs", "captures", "legacy_waits", "spinning_waits", "blocking_waits", "copies_up",
    "bytes_up", "copies_down", "bytes_down", "contexts",
)  # fmt: skip
LIVING = COUNTS[:6]
_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Driver(Machine):
    """The stand-in, as the double of TensorRT sees a machine."""

    def __init__(self, *, capturable: bool = True) -> None:
        super().__init__(capturable=capturable)
        self.library = ctypes.CDLL("libcuda.so.1")
        self.library.stand_in_run.argtypes = [ctypes.c_void_p, _CALL, ctypes.c_void_p]
        for name in ("stand_in_capturing", "stand_in_invalidate"):
            getattr(self.library, name).argtypes = [ctypes.c_void_p]
        self.errors: list[BaseException] = []
        self.callbacks: list[Any] = []
        self.streams = _Streams(self)

    def counts(self) -> dict[str, int]:
        """What the driver counted."""
        values = (ctypes.c_long * len(COUNTS))()
        self.library.stand_in_counts(values)
        return dict(zip(COUNTS, values, strict=True))

    def lose(self) -> None:
        """From now on every call fails, as after an illegal address."""
        self.lost = True
        self.library.stand_in_lose(1)

    def need_current(self, ordinal: int | None = None) -> int:
        device = ctypes.c_int(-1)
        if self.library.cuCtxGetDevice(ctypes.byref(device)) != 0:
            raise RuleBroken("the device is not current on this thread")
        if ordinal is not None and device.value != ordinal:
            raise RuleBroken(f"cuda:{device.value} is current, not cuda:{ordinal}")
        return device.value

    def need_one_device(self, ordinal: int, addresses: list[int]) -> None:
        for address in addresses:
            device = ctypes.c_int(-1)
            self.library.cuPointerGetAttribute(ctypes.byref(device), 9, ctypes.c_uint64(address))
            if device.value != ordinal:
                raise RuleBroken(f"memory of cuda:{device.value} on cuda:{ordinal}")

    def memory(self, address: int, size: int, *, kinds: tuple[str, ...]) -> np.ndarray:
        return np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))


class _Stream:
    def __init__(self, driver: Driver, handle: int) -> None:
        self._driver, self._handle = driver, handle

    @property
    def ordinal(self) -> int:
        return self._driver.need_current()

    @property
    def recording(self) -> list[object] | None:
        return [] if self._driver.library.stand_in_capturing(self._handle) else None

    @property
    def capture_broken(self) -> bool:
        return False

    @capture_broken.setter
    def capture_broken(self, broken: bool) -> None:
        if broken:
            self._driver.library.stand_in_invalidate(self._handle)

    def add(self, work: Any) -> None:
        def call(_: object) -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - C code called this
                self._driver.errors.append(error)

        kept = _CALL(call)
        self._driver.callbacks.append(kept)
        code = self._driver.library.stand_in_run(self._handle, kept, None)
        if code:
            raise RuntimeError(f"the driver refuses the run: {code}")


class _Streams:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def __contains__(self, handle: object) -> bool:
        return isinstance(handle, int) and handle > 2

    def __getitem__(self, handle: int) -> _Stream:
        return _Stream(self._driver, handle)


def install(*, capturable: bool = True, version: str = "11.4.0.106") -> Driver:
    """Put the double in TensorRT's place, for the rest of this process."""
    driver = Driver(capturable=capturable)
    module = build.add_builder(execution.make_module(driver, version), driver)
    # Torch asks where it comes from.
    module.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    sys.modules["tensorrt"] = module
    sys.modules["tensorrt_rtx"] = None  # type: ignore[assignment]  # says: not installed
    return driver
