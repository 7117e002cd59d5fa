"""What can be asked: sentences, several wordings, pictures, and what cannot be asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.colours import COLOURS, write_colour_bundle
from vtloc_runtime.errors import QueryError, UsageError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.questions.question import Picture, Question
from vtloc_runtime.video.isolation.decoder_process import DecoderProcess


def shown(*scenes: tuple[str, int]) -> EncodedVideo:
    """A video of plain colours, a frame a second."""
    colours = np.repeat([COLOURS[name] for name, _ in scenes], [n for _, n in scenes], axis=0)
    features = (colours / 255 - 0.5).astype(np.float32)
    return EncodedVideo(features, np.arange(len(features), dtype=float), float(len(features)))


def picture(folder: Path, colour: str, name: str = "picture.png") -> Path:
    path = folder / name
    Image.new("RGB", (60, 40), COLOURS[colour]).save(path)
    return path


@pytest.fixture(scope="module")
def localizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_colour_bundle(tmp_path_factory.mktemp("bundle") / "colours", localizer=False)
    with Localizer.open(folder, threads=1) as opened:
        yield opened


VIDEO = (("red", 6), ("green", 4), ("blue", 5), ("yellow", 6))


def span(localizer: Localizer, query: Any) -> tuple[float, float]:
    best = localizer.localize(shown(*VIDEO), query).best
    assert best is not None
    return best.start, best.end


def test_a_question_keeps_sentences_and_pictures_apart() -> None:
    question = Question.parse(("a dog", Path("dog.jpg"), "a puppy", Picture(b"bytes")))
    assert question.wordings == ("a dog", "a puppy")
    assert question.sentence == "a dog"
    assert question.rewrites == ("a puppy",)
    assert question.like == ("dog.jpg", "a picture")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp"])
def test_a_picture_finds_moments_like_it(localizer: Localizer, tmp_path: Path, suffix: str) -> None:
    path = picture(tmp_path, "green", f"green.{suffix}")
    assert span(localizer, path) == (6, 10)
    assert span(localizer, Picture(path.read_bytes())) == (6, 10)


def test_the_answer_says_what_was_asked(localizer: Localizer, tmp_path: Path) -> None:
    path = picture(tmp_path, "green")
    answer = localizer.localize(shown(*VIDEO), ("green", "a green screen", path))
    assert (answer.query, answer.rewrites) == ("green", ("a green screen",))
    assert answer.like == (str(path),)
    assert answer.asked == f"green / a green screen, like {path}"
    assert answer.to_json()["like"] == (str(path),)


TWICE = (("red", 5), ("green", 5), ("blue", 5), ("green", 5))


def test_wordings_are_averaged(localizer: Localizer) -> None:
    first, second = localizer.localize(shown(*TWICE), ("red", "blue"), moments=2).moments
    assert {(first.start, first.end), (second.start, second.end)} == {(0, 5), (10, 15)}
    assert first.score == pytest.approx(second.score)


def test_one_wording_in_a_tuple_is_that_sentence(localizer: Localizer) -> None:
    video = shown(*VIDEO)
    assert localizer.localize(video, ("green",)) == localizer.localize(video, "green")


def test_a_list_asks_each_on_its_own(localizer: Localizer, tmp_path: Path) -> None:
    path = picture(tmp_path, "blue")
    video = shown(*VIDEO)
    answers = localizer.localize(video, ["red", ("green", "a green"), path])
    assert [
        localizer.localize(video, one) for one in ("red", ("green", "a green"), path)
    ] == answers
    assert [(one.best.start, one.best.end) for one in answers if one.best] == [
        (0, 6),
        (6, 10),
        (10, 15),
    ]


def test_a_sentence_and_a_picture_weigh_alike(localizer: Localizer, tmp_path: Path) -> None:
    query = ("red", picture(tmp_path, "blue"))
    first, second = localizer.localize(shown(*TWICE), query, moments=2).moments
    assert {(first.start, first.end), (second.start, second.end)} == {(0, 5), (10, 15)}
    assert first.score == pytest.approx(second.score, abs=1e-3)


def test_several_wordings_and_pictures_ask_a_trained_localizer(
    colour_bundle: Path, tmp_path: Path
) -> None:
    with Localizer.open(colour_bundle, threads=1) as trained:
        assert span(trained, ("green", "a green screen")) == span(trained, "green")
        # A picture has no tokens, so it is found by similarity.
        assert span(trained, picture(tmp_path, "green")) == (6, 10)


def test_a_picture_is_decoded_in_the_process_that_is_given(
    localizer: Localizer, tmp_path: Path
) -> None:
    path = picture(tmp_path, "green")
    with DecoderProcess() as decoder:
        best = localizer.localize(shown(*VIDEO), path, read=decoder.read).best
    assert best is not None
    assert (best.start, best.end) == (6, 10)


def test_a_picture_is_encoded_once_until_it_changes(localizer: Localizer, tmp_path: Path) -> None:
    path = picture(tmp_path, "green")
    reads = []

    def read(source: Any, options: Any, size: int) -> Any:
        from vtloc_runtime.video.isolation.chunks import read_here

        reads.append(source)
        return read_here(source, options, size)

    for _ in range(3):
        localizer.localize(shown(*VIDEO), path, read=read)
    assert len(reads) == 1
    picture(tmp_path, "yellow").touch()
    best = localizer.localize(shown(*VIDEO), path, read=read).best
    assert best is not None
    assert (best.start, best.end) == (15, 21)
    assert len(reads) == 2


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff\xd8\xff\xe0" + b"x" * 99, b"GIF89a", b"\x89PNG\r\n\x1a\n"]
)
def test_a_picture_that_cannot_be_read_is_named(
    localizer: Localizer, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(QueryError, match="picture") as caught:
        localizer.localize(shown(*VIDEO), path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("name", ["missing.jpg", "", "a\0b", "http://host/dog.jpg"])
def test_a_picture_that_is_not_there_is_named(
    localizer: Localizer, tmp_path: Path, name: str
) -> None:
    with pytest.raises(QueryError):
        localizer.localize(shown(*VIDEO), tmp_path / name if name[:4] != "http" else Picture(name))


@pytest.mark.parametrize(
    "query",
    [(), ("red", 5), ("red", None), (("red",),), ("red", b"bytes"), ("red",) * 65, ("red", " ")],
    ids=str,
)
def test_what_is_no_question_is_refused(localizer: Localizer, query: Any) -> None:
    with pytest.raises(QueryError):
        localizer.localize(shown(*VIDEO), query)


@pytest.mark.parametrize("source", [None, 5, "", b"", ["dog.jpg"]])
def test_what_is_no_picture_is_refused(source: Any) -> None:
    with pytest.raises(QueryError, match="path or bytes"):
        Picture(source)


def test_pictures_need_a_shared_space(tmp_path: Path) -> None:
    folder = write_colour_bundle(tmp_path / "apart", shared_space=None)
    path = picture(tmp_path, "green")
    with Localizer.open(folder, threads=1) as localizer:
        for ask in (localizer.check_query, lambda query: localizer.localize(shown(*VIDEO), query)):
            with pytest.raises(UsageError, match="cannot be asked with pictures"):
                ask(path)
