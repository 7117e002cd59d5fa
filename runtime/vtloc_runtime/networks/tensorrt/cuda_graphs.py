"""CUDA graphs of recurring shapes, bounded, each with a context of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloc_runtime.networks.tensorrt.context import BoundContext

_REMEMBERED_SHAPES = 256

Key = tuple[Any, ...]
"""The shapes of a run."""


@dataclass(slots=True)
class GraphSlot:
    """A context of its own and the graph captured from it; the context outlives its graphs."""

    context: BoundContext
    graph: Any = None

    def release(self) -> None:
        """Free the graph; the context stays."""
        if self.graph is not None:
            self.graph.close()
            self.graph = None


class GraphCache:
    """CUDA graphs of recurring shapes of one profile, the least recently used thrown out first.

    Modifying a context under a captured graph is undefined, so each graph has a context of its
    own. Contexts are made up to the bound and then handed on, never made again.

    Args:
        capacity: Most graphs kept; 0 turns capturing off.
        make_context: Makes a context of the profile.
    """

    def __init__(self, capacity: int, make_context: Callable[[], BoundContext]) -> None:
        self._capacity = capacity
        self._make_context = make_context
        self._slots: OrderedDict[Key, GraphSlot] = OrderedDict()
        self._seen: OrderedDict[Key, None] = OrderedDict()

    def __len__(self) -> int:
        return sum(slot.graph is not None for slot in self._slots.values())

    def find(self, key: Key) -> GraphSlot | None:
        """The captured graph of these shapes."""
        slot = self._slots.get(key)
        if slot is None or slot.graph is None:
            return None
        self._slots.move_to_end(key)
        return slot

    def recurs(self, key: Key) -> bool:
        """Note that these shapes came; true where they had come before."""
        if self._capacity == 0:
            return False
        known = key in self._seen
        self._seen[key] = None
        self._seen.move_to_end(key)
        if len(self._seen) > _REMEMBERED_SHAPES:
            self._seen.popitem(last=False)
        return known

    def admit(self, key: Key) -> GraphSlot:
        """A slot for a new graph, taken over from the least recently used one where all are."""
        slot = self._slots.pop(key, None)
        if slot is None and len(self._slots) >= self._capacity:
            _, slot = self._slots.popitem(last=False)
        if slot is None:
            slot = GraphSlot(self._make_context())
        slot.release()
        self._slots[key] = slot
        return slot

    def give_up(self) -> None:
        """Stop capturing: this network cannot be captured."""
        self._capacity = 0
        self.close()

    def close(self) -> None:
        """Free every graph and let go of the contexts."""
        for slot in self._slots.values():
            slot.release()
        self._slots.clear()
