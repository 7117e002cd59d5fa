"""What the index says about presence: never less than asking the film, and hardly more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.support.colour_bank import banked
from tests.support.colours import COLOURS
from vtloc_runtime import Localizer
from vtloc_runtime.batch import FeatureCache
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import SharedSpace
from vtloc_runtime.errors import QueryError
from vtloc_runtime.library.catalogue import Film, Rows
from vtloc_runtime.library.closest import ERROR, closest_cosines
from vtloc_runtime.library.feature_table import pack
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.library.ranking import Ranking, bank_bounds
from vtloc_runtime.library.search import Library
from vtloc_runtime.localize.presence.bank_presence import WEIGHT, BankPresence
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
from vtloc_runtime.localize.questions.question import Picture, Query
from vtloc_runtime.localize.spans.similarity import cosine_curve

WIDTH = 12
SHARED = SharedSpace(start=0, stop=WIDTH)


@pytest.fixture(scope="module")
def bank_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours without a localizer, whose presence ordinary sentences tell."""
    return banked(tmp_path_factory.mktemp("banked") / "colours", threshold=0.0)


@pytest.fixture(autouse=True)
def no_recent_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Let films that were written a moment ago count as settled.
    monkeypatch.setattr("vtloc_runtime.library.update._SETTLED", -1)
    monkeypatch.setattr("vtloc_runtime.localize.encoding.feature_cache._SETTLED", -1)


def picture(colour: str, path: Path) -> Path:
    Image.new("RGB", (50, 30), COLOURS[colour]).save(path)
    return path


def frames(chance: np.random.Generator, count: int) -> NDArray[np.float32]:
    # Frames of one film resemble each other.
    return (chance.normal(size=WIDTH) + 0.5 * chance.normal(size=(count, WIDTH))).astype(np.float32)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    length=st.sampled_from([1.0, 0.7]),
    compared=st.booleans(),
)
def test_bank_bounds_are_never_below_the_presence_and_hardly_above(
    seed: int,
    counts: list[int],
    length: float,
    compared: bool,
) -> None:
    chance = np.random.default_rng(seed)
    bank = SentenceBank.of_vectors(chance.normal(size=(60, WIDTH)), np.zeros(WIDTH))
    reference = ReferenceFrames.from_features(frames(chance, 50)) if compared else None
    presence = BankPresence(bank, None, reference)
    sentence = chance.normal(size=WIDTH)
    sentence *= length / np.linalg.norm(sentence)
    films = [frames(chance, count) for count in counts]
    known = [presence.in_video(film, SHARED) for film in films]
    table = np.concatenate(
        [pack(film, ordinary.nearest) for film, ordinary in zip(films, known, strict=True)]
    )
    starts = np.cumsum([0, *counts])
    ranges = [Rows(int(first), count, 0) for first, count in zip(starts, counts, strict=False)]
    vector = np.append(sentence, -1.0)
    cosines = closest_cosines(table, ranges, vector[None])[0]
    mark = presence.mark(sentence)
    exact = np.array(
        [
            ordinary.margin(length * cosine_curve(film, sentence, SHARED), mark)
            for film, ordinary in zip(films, known, strict=True)
        ]
    )
    above = [ordinary.above for ordinary in known]
    below = [ordinary.below for ordinary in known]
    bounds = bank_bounds(
        cosines * np.linalg.norm(vector) - mark,
        [ordinary.middle for ordinary in known],
        above,
        below,
    )
    assert (bounds >= exact).all()
    assert (bounds <= exact + 2 * ERROR * (1 + WEIGHT) / np.minimum(above, below)).all()


@pytest.mark.parametrize("told_by", ["bank_bundle", "presence_bundle", "colour_bundle"])
def test_answers_are_those_of_asking_every_film(
    told_by: str,
    request: pytest.FixtureRequest,
    colour_films: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle: Path = request.getfixturevalue(told_by)
    monkeypatch.setattr("vtloc_runtime.library.film_search.available_processors", lambda: 1)
    blue = picture("blue", tmp_path / "blue.png")
    queries: list[Query] = [
        "red",
        "a yellow screen",
        ("red", "magenta"),
        blue,
        ("green", blue),
        ("green", Picture(blue.read_bytes())),
    ]
    asked: list[Any] = []
    with Localizer.open(bundle) as localizer:
        library = Library([str(colour_films)], localizer, FeatureCache())
        library.update()
        every = list(library.search(queries, SearchOptions(top=len(library.films))))
        ask = localizer.localize

        def count(*arguments: Any, **options: Any) -> Any:
            asked.append(arguments)
            return ask(*arguments, **options)

        monkeypatch.setattr(localizer, "localize", count)
        for top in (1, 2):
            best = list(library.search(queries, SearchOptions(top=top)))
            for few, all_films in zip(best, every, strict=True):
                assert [one.presence for one in few] == [one.presence for one in all_films[:top]]
        for query, records in zip(queries, every, strict=True):
            for record in records:
                alone = ask(record.video, query)
                if alone.presence is None:
                    assert record.presence is None
                else:
                    assert record.presence == pytest.approx(alone.presence, abs=1e-4)
                assert [one.start for one in record.moments or ()] == pytest.approx(
                    [one.start for one in alone.moments], abs=1e-3
                )
    assert len(asked) < 2 * len(queries) * len(library.films)


def test_a_sentence_asks_few_films(
    colour_films: Path, bank_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vtloc_runtime.library.film_search.available_processors", lambda: 1)
    asked: list[object] = []
    with Localizer.open(bank_bundle) as localizer:
        library = Library([str(colour_films)], localizer, FeatureCache())
        library.update()
        (every,) = library.search("green", SearchOptions(top=5))
        ask = localizer.localize

        def count(*arguments: Any, **options: Any) -> Any:
            asked.append(arguments)
            return ask(*arguments, **options)

        monkeypatch.setattr(localizer, "localize", count)
        (best,) = library.search("green", SearchOptions(top=1))
    assert [one.video for one in best] == [every[0].video]
    assert len(asked) <= 2


def test_pictures_alone_rank_by_the_closest_frame(
    colour_films: Path, bank_bundle: Path, tmp_path: Path
) -> None:
    magenta = picture("magenta", tmp_path / "magenta.png")
    with Localizer.open(bank_bundle) as localizer:
        library = Library([str(colour_films)], localizer, FeatureCache())
        library.update()
        (by_path,) = library.search(magenta, SearchOptions(top=1))
        (by_bytes,) = library.search(Picture(magenta.read_bytes()), SearchOptions(top=1))
        with pytest.raises(QueryError):
            list(library.search(tmp_path / "gone.png"))
    assert Path(by_path[0].video).stem == "cyan, magenta, green"
    assert by_path[0].like == (str(magenta),)
    assert by_bytes[0].id == by_path[0].id
    assert by_bytes[0].moments == by_path[0].moments


def test_an_index_belongs_to_one_bank(tmp_path: Path, colour_bundle: Path) -> None:
    other = SentenceBank.of_vectors(np.eye(3), np.zeros(3))
    parts = [
        Ranking(Bundle.open(folder)).parts
        for folder in (
            banked(tmp_path / "one"),
            banked(tmp_path / "two", other),
            banked(tmp_path / "three", mean_weight=0.0),
            colour_bundle,
        )
    ]
    assert len(set(parts)) == len(parts)


def test_a_film_of_one_look_is_bounded(tmp_path: Path) -> None:
    # No ordinary sentence stands out from another: both spreads are nothing.
    nothing = [0.0, 0.0]
    assert list(bank_bounds(np.array([0.1, -0.5]), nothing, nothing, nothing)) == [10.0, -10.0]
    film = Film(name="film")
    assert film.above == film.below == 0.0
