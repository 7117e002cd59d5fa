"""The bundle that ships with the project finds what people would expect it to find."""

from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="needs the cpu extra")
pytest.importorskip("skimage", reason="scikit-image brings the photographs")

from skimage import data

from recipes.films.photographs import Shot, write_video
from vtloc_runtime import Localizer
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.localize.spans.moments import Moment

SECONDS = 8
SHOTS = ("astronaut", "chelsea", "coffee", "rocket")
QUERIES = {
    "an astronaut in an orange suit": 0,
    "a cat looking into the camera": 1,
    "a cup of coffee on a table": 2,
    "a rocket on its launch pad": 3,
}
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def localizer():
    with Localizer.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "photographs.mp4"
    write_video(path, [Shot(getattr(data, name)(), SECONDS) for name in SHOTS], seed=1)
    return path


@pytest.fixture(scope="module")
def answers(localizer, video):
    found = localizer.localize(video, list(QUERIES))
    return {answer.query: answer.best for answer in found}


@pytest.mark.parametrize("query", QUERIES)
def test_a_sentence_finds_its_photograph(answers, query):
    truth = Moment(QUERIES[query] * SECONDS, (QUERIES[query] + 1) * SECONDS, 1.0)
    assert answers[query].overlap(truth) >= 0.7


def test_exchanging_the_sentence_changes_the_moment(answers):
    spans = {(moment.start, moment.end) for moment in answers.values()}
    assert len(spans) == len(QUERIES)


def test_the_order_of_the_photographs_does_not_matter(localizer, tmp_path):
    path = tmp_path / "reversed.mp4"
    write_video(path, [Shot(getattr(data, name)(), 6) for name in reversed(SHOTS)], seed=2)
    query = "a cat looking into the camera"
    assert localizer.localize(path, query).best.overlap(Moment(12, 18, 1.0)) >= 0.7


def test_asking_about_an_encoded_video_gives_the_same_answer(localizer, video, answers):
    encoded = localizer.encode_video(video)
    query = next(iter(QUERIES))
    best = localizer.localize(encoded, query).best
    assert (best.start, best.end) == (answers[query].start, answers[query].end)
    # Alone or beside other sentences, the sums round differently.
    assert best.score == pytest.approx(answers[query].score, abs=1e-4)


def test_the_bundle_is_small_enough_to_ship():
    size = sum(path.stat().st_size for path in Path(DEFAULT_BUNDLE).rglob("*") if path.is_file())
    assert size < 40 * MEGABYTE


def test_the_bundle_says_where_it_comes_from():
    manifest = Bundle.open().manifest
    assert manifest.license == "Apache-2.0"
    assert "no photographs" in manifest.provenance.training_data
    assert manifest.shared_space is not None
