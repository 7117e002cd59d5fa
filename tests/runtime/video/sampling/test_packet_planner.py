"""What the planner lets through, and when it is sure."""

from __future__ import annotations

from typing import Any

import av
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import films
from vtloc_runtime.video import VideoOptions
from vtloc_runtime.video.demuxing.demux import DemuxPass
from vtloc_runtime.video.demuxing.packets import TimedPacket
from vtloc_runtime.video.demuxing.source import Source
from vtloc_runtime.video.sampling.packet_planner import REORDERING, PacketPlanner, ReorderHorizon
from vtloc_runtime.video.sampling.sparse import SparseSampler


def packets(pts: list[int], starts: set[int], dts: list[int | None]) -> list[TimedPacket]:
    body: av.Packet[Any] = av.Packet(100)
    return [
        TimedPacket(index, time, decode, index in starts, True, body)
        for index, (time, decode) in enumerate(zip(pts, dts, strict=True))
    ]


@st.composite
def reordered(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Presentation times in decode order, and the latest decode times that fit them."""
    times = sorted(draw(st.sets(st.integers(0, 300), min_size=1, max_size=60)))
    order: list[int] = []
    while times:
        ahead = draw(st.integers(0, min(len(times), REORDERING) - 1))
        order.append(times.pop(ahead))
        # Nothing may be overtaken by more pictures than a decoder can hold back.
        overtaken = [one for one in times[:1] if sum(other > one for other in order) >= 16]
        order += overtaken
        times = [one for one in times if one not in overtaken]
    bounds = [min(order[index:]) for index in range(len(order))]
    return order, bounds


@given(film=reordered(), timed=st.booleans(), later=st.integers(0, 310))
@settings(max_examples=150, deadline=None)
def test_an_instant_is_decided_only_when_nothing_can_fall_before_it(
    film: tuple[list[int], list[int]], timed: bool, later: int
) -> None:
    order, bounds = film
    target = min(order) + later
    dts = [bound - 1 if timed else None for bound in bounds]
    planner = PacketPlanner(iter(packets(order, {0}, dts)))
    while not planner.decided(target):
        planner.read(target)
    chosen = planner.choose(target)
    assert chosen is not None
    assert chosen.pts == max(time for time in order if time <= target)
    assert not planner.lost


def test_decode_times_decide_sooner_than_counting() -> None:
    timed, untimed = ReorderHorizon(), ReorderHorizon()
    for tick in range(0, 40, 2):
        timed.advance(tick, tick)
        untimed.advance(tick, None)
    assert timed.passed(37)
    assert not untimed.passed(37)
    assert untimed.passed(5)


def test_decode_times_that_contradict_are_not_believed() -> None:
    horizon = ReorderHorizon()
    horizon.advance(10, 20)
    horizon.advance(12, 30)
    assert not horizon.passed(15)


def test_packets_before_the_last_start_and_after_the_wanted_one_are_left_out() -> None:
    pts = list(range(100))
    planner = PacketPlanner(iter(packets(pts, {0, 25, 50, 75}, [*pts])))
    while not planner.decided(60):
        planner.read(60)
    chosen = planner.choose(60)
    assert chosen is not None
    order = planner.need(chosen)
    assert order.restart
    assert [one.number for one in order.packets] == list(range(50, 61))
    while not planner.decided(63):
        planner.read(63)
    chosen = planner.choose(63)
    assert chosen is not None
    order = planner.need(chosen)
    assert not order.restart
    assert [one.number for one in order.packets] == [61, 62, 63]


def test_what_is_held_stays_bounded_between_distant_instants() -> None:
    pts = list(range(100_000))
    planner = PacketPlanner(iter(packets(pts, {0}, [*pts])))
    handed = 0
    while not planner.decided(99_990):
        order = planner.read(99_990)
        handed += len(order.packets) if order else 0
    assert handed > 98_000


def test_a_file_that_repeats_a_passed_time_is_given_up() -> None:
    planner = PacketPlanner(iter(packets([0, 10, 30, 15], {0}, [0, 10, 30, 31])))
    while not planner.decided(20):
        planner.read(20)
    chosen = planner.choose(20)
    assert chosen is not None
    assert chosen.pts == 10
    planner.read(30)
    assert planner.lost


class CountingPass(DemuxPass):
    """Counts the packets that reach the decoder."""

    seen = 0

    def decode(self, packet, *, tolerate=False):
        self.seen += packet is not None
        return super().decode(packet, tolerate=tolerate)


def decoded(data: bytes, options: VideoOptions) -> int:
    counting = CountingPass(Source(data, options), options)
    list(SparseSampler(counting, options).frames(options.targets()))
    return counting.seen


def test_only_the_needed_packets_reach_the_decoder() -> None:
    film = films.Film(ticks=tuple(range(400)), options={"g": "10", "bf": "0", "sc_threshold": "0"})
    data = film.make()
    # Every instant falls on a keyframe: 20 of 400 packets, and one more to see the first come out.
    assert decoded(data, VideoOptions()) <= 22


def test_av1_pictures_that_nothing_refers_to_never_reach_the_decoder() -> None:
    film = films.Film(
        ticks=tuple(range(200)),
        codec="libsvtav1",
        container="matroska",
        options={"preset": "10", "g": "161"},
    )
    assert decoded(film.make(), VideoOptions()) < 150
