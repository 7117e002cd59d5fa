"""Pictures and several wordings ask the service as they ask the class."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from tests.runtime.serve.conftest import Start
from tests.support.colours import write_colour_bundle
from vtloc_runtime import Localizer
from vtloc_runtime.batch import FeatureCache
from vtloc_runtime.errors import UsageError
from vtloc_runtime.serve.folders import LARGEST_PICTURE, ServedFolders
from vtloc_runtime.serve.service import Service

BOTH, BLUE = "films/red, green.mp4", "films/more/blue.mp4"


@pytest.fixture
def films(films: Path) -> Path:
    """The films, with pictures beside them."""
    for name, colour in (("green.png", (0, 255, 0)), ("more/blue.jpg", (0, 0, 255))):
        Image.new("RGB", (64, 48), colour).save(films / name)
    return films


def find(client: TestClient, **more: Any) -> Any:
    return client.post("/v1/moments", json={"video": BOTH, **more})


def first(answer: Any) -> tuple[float, float]:
    moment = answer.json()["answers"][0]["moments"][0]
    return moment["start"], moment["end"]


def test_a_picture_below_the_folders_asks(
    client: TestClient, localizer: Localizer, films: Path
) -> None:
    (expected,) = localizer.localize(str(films / "red, green.mp4"), [films / "green.png"])
    found = find(client, like=["films/green.png"])
    assert found.status_code == 200
    assert first(found) == pytest.approx((expected.moments[0].start, expected.moments[0].end))
    assert found.json()["answers"][0]["query"] == ""
    both = find(client, queries=["green", "a screen"], like=["films/green.png"]).json()
    assert [one["query"] for one in both["answers"]] == ["green", "a screen"]


def test_a_picture_that_was_sent_asks_too(client: TestClient, films: Path) -> None:
    def send(content: bytes, name: str, kind: str) -> Any:
        headers = {"Content-Type": kind}
        return client.post(f"/v1/pictures?name={name}", content=content, headers=headers)

    content = (films / "green.png").read_bytes()
    sent = send(content, "mine.png", "image/png")
    assert sent.status_code == 201
    name = sent.json()["picture"]
    assert first(find(client, like=[name]))[0] == pytest.approx(3, abs=0.2)
    assert client.get(f"/v1/media/{name}").status_code == 404
    assert send(content, "mine.mp4", "image/png").status_code == 422
    assert send(content, "mine.png", "text/plain").status_code == 415
    assert send(b"x" * (LARGEST_PICTURE + 1), "mine.png", "image/png").status_code == 413
    words = send(b"words", "a.png", "image/png").json()["picture"]
    assert find(client, like=[words]).status_code == 422


def test_pictures_search_all_videos(client: TestClient) -> None:
    client.post("/v1/moments", json={"video": BLUE, "queries": ["blue"]})
    for body in (
        {"like": ["films/more/blue.jpg"]},
        {"query": "blue", "like": ["films/more/blue.jpg"]},
    ):
        for _ in range(60):
            found = client.post("/v1/search", json={**body, "top": 1}).json()
            if found["searched"] == 2:
                break
            time.sleep(0.2)
        assert [one["video"] for one in found["videos"]] == [BLUE]


def test_wordings_are_averaged(client: TestClient, localizer: Localizer, films: Path) -> None:
    (expected,) = localizer.localize(str(films / "red, green.mp4"), [("green", "a green screen")])
    found = find(client, queries=["green"], rewrites=["a green screen"])
    assert first(found) == pytest.approx((expected.moments[0].start, expected.moments[0].end))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"queries": []}, 422),
        ({"queries": ["red", "green"], "rewrites": ["blue"]}, 422),
        ({"rewrites": ["blue"], "like": ["films/green.png"]}, 422),
        ({"queries": ["red"], "rewrites": [" "]}, 422),
        ({"like": ["films/green.png"] * 9}, 422),
        ({"like": ["films/gone.png"]}, 404),
        ({"like": ["films/../green.png"]}, 404),
        ({"like": ["films/red, green.mp4"]}, 404),
        ({"like": ["films/notes.txt"]}, 404),
        ({"like": ["films/linked.png"]}, 404),
        ({"like": ["films/pipe.png"]}, 404),
        ({"like": ["/etc/passwd"]}, 404),
        ({"like": ["films/empty.png"]}, 422),
        ({"like": ["films/words.png"]}, 422),
        ({"like": ["films/huge.png"]}, 422),
    ],
)
def test_other_pictures_are_refused(
    client: TestClient, films: Path, body: dict[str, Any], status: int
) -> None:
    (films / "notes.txt").write_text("secret")
    (films / "linked.png").symlink_to(films / "green.png")
    os.mkfifo(films / "pipe.png")
    (films / "empty.png").touch()
    (films / "words.png").write_text("words")
    with (films / "huge.png").open("wb") as file:
        file.truncate(LARGEST_PICTURE + 1)
    answer = find(client, **body)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert str(films) not in answer.text


def test_a_bundle_without_a_shared_space_takes_no_pictures(films: Path, tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "apart", shared_space=None)
    with Localizer.open(bundle, threads=1) as localizer:
        service = Service(
            localizer, ServedFolders([films]), FeatureCache(tmp_path / "cache"), decoders=1
        )
        with pytest.raises(UsageError, match="share no space"):
            service.find(BOTH, [], like=["films/green.png"])
        service.close()


def test_pictures_are_read_in_the_sandbox(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    import av

    find(client, queries=["green"])

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a picture was decoded in the service's process")

    monkeypatch.setattr(av, "open", fail)
    assert find(client, like=["films/green.png"]).status_code == 200


def test_a_service_for_callers_without_uploads_takes_no_pictures(start: Start, films: Path) -> None:
    with TestClient(start(films, uploads=False), base_url="http://localhost") as client:
        headers = {"Content-Type": "image/png"}
        sent = client.post("/v1/pictures?name=a.png", content=b"x", headers=headers)
        assert sent.status_code == 403
        assert find(client, like=["films/green.png"]).status_code == 200
