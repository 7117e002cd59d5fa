"""A second look, four times a second, puts a moment's ends where the frames change."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.support.colours import COLOURS, write_colour_bundle, write_colour_video
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.manifest import SharedSpace
from vtloc_runtime.cli.find import app
from vtloc_runtime.errors import UsageError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.fine_ends import instants_around, refine
from vtloc_runtime.localize.spans.moments import Localization, Moment

SPACE = SharedSpace(start=0, stop=3)
GREEN = np.array(COLOURS["green"], dtype=np.float32) / 255 - 0.5


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red to 4.5 s, green to 7.25 s, blue to 12 s, with a keyframe each second and no others."""
    path = tmp_path_factory.mktemp("video") / "colours.mp4"
    scenes = [("red", 4.5), ("green", 2.75), ("blue", 4.75)]
    return write_colour_video(path, scenes, rate=8, scene_keyframes=False)


def test_ends_are_placed_to_a_quarter_of_a_second(colour_bundle: Path, film: Path) -> None:
    with Localizer.open(colour_bundle) as localizer:
        coarse = localizer.localize(film, "green").best
        fine = localizer.localize(film, ["green", "blue"], fine=True)
    assert coarse is not None
    assert (coarse.start, coarse.end) == pytest.approx((4.5, 7.5), abs=0.1)
    green, blue = (answer.best for answer in fine)
    assert green is not None
    assert blue is not None
    assert (green.start, green.end) == pytest.approx((4.5, 7.25), abs=0.1)
    assert (blue.start, blue.end) == pytest.approx((7.25, 12.0), abs=0.1)
    assert green.score == coarse.score


def test_features_alone_cannot_be_looked_at_again(colour_bundle: Path, film: Path) -> None:
    with Localizer.open(colour_bundle) as localizer:
        video = localizer.encode_video(film)
        with pytest.raises(UsageError, match="no frames to look at again"):
            localizer.localize(video, "green", fine=True)
        (moved,) = localizer.refine(film, video, [localizer.localize(video, "green")])
    assert moved.best is not None
    assert moved.best.start == pytest.approx(4.5, abs=0.1)


def test_a_video_looked_at_as_often_already_is_not_looked_at_again(
    colour_bundle: Path, film: Path
) -> None:
    with Localizer.open(colour_bundle, fps=4) as localizer:
        video = localizer.encode_video(film)
        answers = [localizer.localize(video, "green")]
        assert localizer.refine("there is no such file", video, answers) == answers


def test_the_command_looks_again_on_demand(tmp_path: Path, film: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    asked = [str(film), "-q", "green", "--bundle", str(bundle), "--json", "--quiet"]
    ends, runs = [], set()
    for options in ([], ["--fine"]):
        result = CliRunner().invoke(app, [*asked, *options])
        assert result.exit_code == 0, result.output
        record = json.loads(result.stdout.splitlines()[-1])
        ends.append(record["moments"][0]["end"])
        runs.add(record["run"])
    assert ends == pytest.approx([7.5, 7.25], abs=0.1)
    assert len(runs) == 2  # A file of results holds answers of one kind.


def moments_between(times: list[float]) -> tuple[Moment, ...]:
    """Moments from the first time to the second, from the third to the fourth, and so on."""
    ordered = sorted(times)
    pairs = zip(ordered[::2], ordered[1::2], strict=False)
    return tuple(Moment(start, end, 0.5) for start, end in pairs)


TIMES = st.floats(0, 20).map(lambda time: round(time, 2))
MOMENTS = st.lists(TIMES, min_size=2, max_size=8, unique=True).map(moments_between)


@given(MOMENTS, st.integers(0, 2**16), st.booleans())
@example((Moment(0.0, 1.0, 0.5), Moment(2.5, 3.0, 0.5)), 2600, False)
def test_moments_stay_apart_and_their_ends_move_little(
    moments: tuple[Moment, ...], seed: int, shared: bool
) -> None:
    chance = np.random.default_rng(seed)
    answer = Localization("green", moments)
    instants = instants_around([answer], 20.0, step=1.0)
    assert all(low < high for low, high in pairwise(instants))
    if not instants:
        return
    features = chance.normal(size=(len(instants), 3)).astype(np.float32)
    frames = EncodedVideo(features, np.array(instants), max(20.0, instants[-1]))
    moved = refine(
        answer, GREEN, frames, duration=20.0, step=1.0, longest=6.0,
        shared=SPACE if shared else None,
    ).moments  # fmt: skip
    for one, other in zip(moments, moved, strict=True):
        assert other.start < other.end <= other.start + 6.0
        assert abs(one.start - other.start) <= 1.5
        assert abs(one.end - other.end) <= 1.5 or other.end == other.start + 6.0
    assert all(one.end <= after.start for one, after in pairwise(moved))


def test_ends_stay_where_nothing_changes() -> None:
    answer = Localization("green", (Moment(5.0, 9.0, 0.5),))
    instants = instants_around([answer], 20.0, step=1.0)
    noise = np.random.default_rng(0).normal(size=(len(instants), 3)).astype(np.float32)
    frames = EncodedVideo(GREEN + 0.01 * noise, np.array(instants), 20.0)
    assert refine(
        answer, GREEN, frames, duration=20.0, step=1.0, longest=60.0, shared=SPACE
    ) == answer  # fmt: skip


def test_the_beginning_and_the_end_of_the_video_stay() -> None:
    answer = Localization("green", (Moment(0.0, 20.0, 0.5),))
    assert instants_around([answer], 20.0, step=1.0) == ()
