"""CUDA graphs of recurring shapes, bounded, each with a context of its own."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloc_runtime.networks.tensorrt.context import BoundContext

_REMEMBERED_SHAPES = 256
_HALF_LIFE = 512

Key = tuple[Any, ...]
"""The shapes of a run."""


@dataclass(slots=True)
class GraphSlot:
    """A context of its own and the graph captured from it; the context outlives its graphs.

    Attributes:
        context: The context.
        graph: The graph, once it was captured.
        uses: How often its shapes came; halved now and then, so that old traffic is forgotten.
    """

    context: BoundContext
    graph: Any = None
    uses: int = 0

    def release(self) -> None:
        """Free the graph; the context stays."""
        if self.graph is not None:
            self.graph.close()
            self.graph = None


class GraphCache:
    """CUDA graphs of recurring shapes of one profile.

    Modifying a context under a captured graph is undefined, so each graph has a context of its
    own. Contexts are made up to the bound and then handed on, never made again. A capture costs
    several plain runs, so where all slots are taken, shapes replace the least used ones only once
    they came more often: traffic without repetition then runs uncaptured.

    Args:
        capacity: Most graphs kept; 0 turns capturing off.
        make_context: Makes a context of the profile.
    """

    def __init__(self, capacity: int, make_context: Callable[[], BoundContext]) -> None:
        self._capacity = capacity
        self._make_context = make_context
        self._slots: OrderedDict[Key, GraphSlot] = OrderedDict()
        self._seen: OrderedDict[Key, int] = OrderedDict()
        self._calls = 0

    def __len__(self) -> int:
        return sum(slot.graph is not None for slot in self._slots.values())

    def find(self, key: Key) -> GraphSlot | None:
        """The captured graph of these shapes."""
        self._age()
        slot = self._slots.get(key)
        if slot is None or slot.graph is None:
            return None
        slot.uses += 1
        self._slots.move_to_end(key)
        return slot

    def recurs(self, key: Key) -> bool:
        """Note that these shapes came; true where a graph of them is worth its capture."""
        if self._capacity == 0:
            return False
        seen = self._seen.pop(key, 0)
        self._seen[key] = seen + 1
        if len(self._seen) > _REMEMBERED_SHAPES:
            self._seen.popitem(last=False)
        if seen == 0:
            return False
        if key in self._slots or len(self._slots) < self._capacity:
            return True
        return seen > min(slot.uses for slot in self._slots.values())

    def admit(self, key: Key) -> GraphSlot:
        """A slot for a new graph, taken over from the least used one where all are."""
        slot = self._slots.pop(key, None)
        if slot is None and len(self._slots) >= self._capacity:
            # Among equals the one that was launched longest ago.
            slot = self._slots.pop(min(self._slots, key=lambda one: self._slots[one].uses))
        if slot is None:
            slot = GraphSlot(self._make_context())
        slot.release()
        slot.uses = self._seen.get(key, 0)
        self._slots[key] = slot
        return slot

    def _age(self) -> None:
        self._calls += 1
        if self._calls % _HALF_LIFE == 0:
            for slot in self._slots.values():
                slot.uses //= 2
            for key, seen in self._seen.items():
                self._seen[key] = max(1, seen // 2)

    def give_up(self) -> None:
        """Stop capturing: this network cannot be captured."""
        self._capacity = 0
        self.close()

    def close(self) -> None:
        """Free every graph and let go of the contexts."""
        for slot in self._slots.values():
            slot.release()
        self._slots.clear()
