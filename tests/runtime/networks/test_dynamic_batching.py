"""Batches that several threads share: each gets its own rows, and its own errors."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from vtloc_runtime.errors import NetworkError
from vtloc_runtime.networks.dynamic_batching import DynamicBatcher


def frames(count: int, level: int) -> np.ndarray:
    return np.full((count, 2, 2, 3), level, dtype=np.uint8)


def levels(images: np.ndarray) -> np.ndarray:
    return images[:, 0, 0, :1].astype(np.float32)


class SlowNetwork:
    """Gives each frame's level, and notes how many frames each run had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        time.sleep(0.01)
        if (images == 255).any():
            raise NetworkError("this frame is too bright")
        return levels(images)


def ask_all(combiner: DynamicBatcher, batches: list[np.ndarray]) -> list[np.ndarray | Exception]:
    found: list[np.ndarray | Exception] = [RuntimeError()] * len(batches)

    def ask(index: int) -> None:
        for _ in range(5):
            try:
                found[index] = combiner(batches[index])
            except NetworkError as error:
                found[index] = error

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return found


def test_every_thread_gets_its_own_rows_and_runs_are_shared() -> None:
    network = SlowNetwork()
    batches = [frames(3 + index % 3, index) for index in range(12)]
    found = ask_all(DynamicBatcher(network, limit=16, at_once=1), batches)
    for batch, features in zip(batches, found, strict=True):
        assert isinstance(features, np.ndarray)
        assert np.array_equal(features, levels(batch))
    assert sum(network.sizes) == 5 * sum(len(batch) for batch in batches)
    assert len(network.sizes) < 60
    assert max(network.sizes) <= 16


def test_an_error_reaches_only_those_who_caused_it() -> None:
    batches = [frames(2, level) for level in (1, 2, 255, 3, 255, 4)]
    found = ask_all(DynamicBatcher(SlowNetwork(), limit=32), batches)
    for batch, features in zip(batches, found, strict=True):
        if (batch == 255).any():
            assert isinstance(features, NetworkError)
        else:
            assert isinstance(features, np.ndarray)
            assert np.array_equal(features, levels(batch))


def test_one_caller_alone_is_served_at_once() -> None:
    network = SlowNetwork()
    combiner = DynamicBatcher(network, limit=4)
    assert np.array_equal(combiner(frames(9, 7)), levels(frames(9, 7)))
    assert network.sizes == [9]
    with pytest.raises(NetworkError, match="too bright"):
        combiner(frames(1, 255))


def test_an_interrupt_stays_with_the_thread_that_it_hit() -> None:
    """Whichever thread is interrupted while it serves all others, they get their features."""
    lock = threading.Lock()
    interrupts = [KeyboardInterrupt(), KeyboardInterrupt()]

    def run(images: np.ndarray) -> np.ndarray:
        time.sleep(0.01)
        with lock:
            if len({int(image[0, 0, 0]) for image in images}) > 1 and interrupts:
                raise interrupts.pop()
        return levels(images)

    combiner = DynamicBatcher(run, limit=64, at_once=1)
    found: dict[int, object] = {}

    def ask(level: int) -> None:
        try:
            found[level] = combiner(frames(2, level)).tolist()
        except KeyboardInterrupt as error:
            found[level] = error

    threads = [threading.Thread(target=ask, args=(level,)) for level in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    stopped = [level for level, value in found.items() if isinstance(value, KeyboardInterrupt)]
    assert interrupts == []
    assert len(stopped) == 2
    assert {level: found[level] for level in range(8) if level not in stopped} == {
        level: [[float(level)]] * 2 for level in range(8) if level not in stopped
    }
    assert not combiner._waiting
