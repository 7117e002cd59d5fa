"""The machine that the double plays: memory, streams and what is alive on it."""

# ruff: noqa: N818 - classes over one machine, in the names of the real libraries

from __future__ import annotations

import collections
import ctypes
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

POISON = 0xA5


class RuleBroken(AssertionError):
    """Something was done whose outcome a real GPU leaves undefined."""


@dataclass
class Allocation:
    """A block of memory; device blocks have addresses that the host cannot touch."""

    address: int
    size: int
    kind: str
    content: np.ndarray
    ordinal: int
    alive: bool = True


class Stream(Protocol):
    """A stream, as a run that is put into it sees it."""

    capture_broken: bool

    @property
    def ordinal(self) -> int: ...

    @property
    def recording(self) -> Collection[object] | None: ...

    def add(self, work: Callable[[], None]) -> None: ...


class Streams(Protocol):
    """Streams by their handles."""

    def __contains__(self, handle: object, /) -> bool: ...

    def __getitem__(self, handle: int, /) -> Stream: ...


@dataclass
class Machine(ABC):
    """What the double of TensorRT needs of a machine, and counts on it."""

    capturable: bool = True
    lost: bool = False
    ordinal: int = 0
    live: collections.Counter[str] = field(default_factory=collections.Counter)
    made: collections.Counter[str] = field(default_factory=collections.Counter)
    launches: collections.Counter[str] = field(default_factory=collections.Counter)
    runs: collections.Counter[int] = field(default_factory=collections.Counter)
    lock: threading.RLock = field(default_factory=threading.RLock)
    current: threading.local = field(default_factory=threading.local)
    streams: Streams = field(default_factory=dict[int, Stream])

    def born(self, kind: str) -> None:
        """Count something that must be freed."""
        with self.lock:
            self.live[kind] += 1
            self.made[kind] += 1

    def gone(self, kind: str) -> None:
        """Count something as freed."""
        with self.lock:
            self.live[kind] -= 1

    @abstractmethod
    def need_current(self, ordinal: int | None = None) -> int:
        """CUDA calls need a context that is current on the calling thread, and the right one.

        Args:
            ordinal: The device that the call concerns; None takes any.

        Returns:
            The device that is current.
        """

    @abstractmethod
    def need_one_device(self, ordinal: int, addresses: list[int]) -> None:
        """A kernel reads and writes the memory of its own device."""

    @abstractmethod
    def memory(self, address: int, size: int, *, kinds: tuple[str, ...]) -> np.ndarray:
        """The bytes at an address, which must lie inside one living block."""


@dataclass
class Gpu(Machine):
    """A machine's GPUs, all of a kind: name, compute capability, driver, and all that lives there.

    What belongs to one of them (memory, streams, engines) remembers its ordinal.
    """

    name: str = "NVIDIA A100-SXM4-80GB"
    capability: tuple[int, int] = (8, 0)
    driver: tuple[int, ...] = (580, 65, 6)
    cuda: tuple[int, int] | None = (13, 0)
    nvml: bool = True
    count: int = 1
    engines: int = 5
    memory_limit: int | None = None
    allocations: dict[int, Allocation] = field(default_factory=dict)
    copies: int = 0
    sent: int = 0
    fetched: int = 0
    next_address: int = 0x7F00_0000_0000_0000

    def need_current(self, ordinal: int | None = None) -> int:
        current = getattr(self.current, "ordinal", None)
        if current is None or not self.has(current):
            raise RuleBroken("the device is not current on this thread")
        if ordinal is not None and current != ordinal:
            raise RuleBroken(f"cuda:{current} is current, but this belongs to cuda:{ordinal}")
        return int(current)

    def has(self, ordinal: int) -> bool:
        """Whether there is such a device."""
        return self.ordinal <= ordinal < self.ordinal + self.count

    def need_alive(self) -> None:
        """After an illegal address, a failed launch or a memory error, every call fails."""
        if self.lost:
            raise RuntimeError(
                "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered"
            )

    def need_one_device(self, ordinal: int, addresses: list[int]) -> None:
        with self.lock:
            for block in self.allocations.values():
                for address in addresses:
                    inside = block.address <= address < block.address + block.size
                    if inside and block.kind == "device" and block.ordinal != ordinal:
                        raise RuleBroken(f"memory of cuda:{block.ordinal} on cuda:{ordinal}")

    def allocate(self, size: int, kind: str) -> Allocation:
        """A block of poisoned memory."""
        ordinal = self.need_current()
        self.need_alive()
        content = np.full(size, POISON, np.uint8)
        with self.lock:
            if kind == "device":
                used = sum(a.size for a in self.allocations.values() if a.kind == "device")
                if self.memory_limit is not None and used + size > self.memory_limit:
                    raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY: out of memory")
                address = self.next_address
                self.next_address += (size + 511) // 256 * 256
            else:
                address = ctypes.addressof(ctypes.c_char.from_buffer(content.data))
            block = Allocation(address, size, kind, content, ordinal)
            self.allocations[address] = block
        self.born(f"{kind} memory")
        return block

    def free(self, block: Allocation) -> None:
        """Give a block back, once."""
        if not block.alive:
            raise RuleBroken("memory was freed twice")
        block.alive = False
        with self.lock:
            del self.allocations[block.address]
        self.gone(f"{block.kind} memory")

    def memory(self, address: int, size: int, *, kinds: tuple[str, ...]) -> np.ndarray:
        with self.lock:
            for block in self.allocations.values():
                if block.address <= address and address + size <= block.address + block.size:
                    if block.kind not in kinds:
                        raise RuleBroken(f"{block.kind} memory where {kinds} was needed")
                    offset = address - block.address
                    return block.content[offset : offset + size]
        raise RuleBroken(f"{size} bytes at {address:#x} do not lie in living memory")

    def kind(self, address: int) -> str | None:
        """What kind of memory an address lies in."""
        with self.lock:
            for block in self.allocations.values():
                if block.address <= address < block.address + block.size:
                    return block.kind
        return None

    def leaks(self) -> dict[str, int]:
        """What is still alive."""
        return {kind: count for kind, count in self.live.items() if count}


class StreamQueue:
    """Work in order, done at synchronization and no sooner."""

    def __init__(self, gpu: Gpu, handle: int, ordinal: int) -> None:
        self.gpu = gpu
        self.handle = handle
        self.ordinal = ordinal
        self.pending: list[Callable[[], None]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.capture_broken = False

    def add(self, work: Callable[[], None]) -> None:
        """Queue work, or record it while a graph is being captured."""
        self.gpu.need_alive()
        (self.pending if self.recording is None else self.recording).append(work)

    def drain(self) -> None:
        """Do everything that is queued."""
        self.gpu.need_alive()
        if self.recording is not None:
            self.capture_broken = True
            raise RuntimeError("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED: sync while capturing")
        work, self.pending = self.pending, []
        for step in work:
            step()
