"""The HTTP API: answers as the class gives them, and everything else refused in plain words."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.runtime.serve.conftest import Start
from vtloc_runtime import Localizer


def ask(client: TestClient, video: str, *queries: str, **more: Any) -> Any:
    return client.post("/v1/moments", json={"video": video, "queries": list(queries), **more})


def test_answers_are_those_of_the_class(
    client: TestClient, films: Path, localizer: Localizer
) -> None:
    for _ in range(2):
        answer = ask(client, "films/red, green.mp4", "green", "a red screen", moments=2)
        assert answer.status_code == 200
        found = answer.json()
        expected = localizer.localize(
            str(films / "red, green.mp4"), ["green", "a red screen"], moments=2
        )
        assert found["video"] == "films/red, green.mp4"
        assert [one["query"] for one in found["answers"]] == ["green", "a red screen"]
        for one, other in zip(found["answers"], expected, strict=True):
            assert [(m["start"], m["end"]) for m in one["moments"]] == [
                (round(m.start, 3), round(m.end, 3)) for m in other.moments
            ]


def test_videos_are_listed_and_searched(client: TestClient) -> None:
    listed = client.get("/v1/videos").json()
    names = ["films/broken.mp4", "films/more/blue.mp4", "films/red, green.mp4"]
    assert listed == {"videos": names, "total": 3}
    deadline = time.monotonic() + 60
    while True:
        found = client.post("/v1/search", json={"query": "blue", "top": 1}).json()
        if found["searched"] == 2 or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert [one["video"] for one in found["videos"]] == ["films/more/blue.mp4"]
    assert (found["waiting"], found["unreadable"]) == (0, 1)


def test_health_metrics_and_the_description_of_the_api(client: TestClient) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    assert ask(client, "films/more/blue.mp4", "blue").status_code == 200
    text = client.get("/metrics").text
    assert 'vtloc_requests_total{method="POST",route="/v1/moments",status="200"} 1.0' in text
    assert "vtloc_requests_in_progress" in text
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/moments", "/v1/search", "/v1/videos", "/healthz", "/metrics"} <= set(paths)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"video": "films/gone.mp4", "queries": ["red"]}, 404),
        ({"video": "../films/red, green.mp4", "queries": ["red"]}, 404),
        ({"video": "/etc/passwd", "queries": ["red"]}, 404),
        ({"video": "films/broken.mp4", "queries": ["red"]}, 422),
        ({"video": "films/more/blue.mp4", "queries": []}, 422),
        ({"video": "films/more/blue.mp4", "queries": ["red"] * 65}, 422),
        ({"video": "films/more/blue.mp4", "queries": [""]}, 422),
        ({"video": "films/more/blue.mp4", "queries": ["  "]}, 422),
        ({"video": "films/more/blue.mp4", "queries": ["x" * 2001]}, 422),
        ({"video": "films/more/blue.mp4", "queries": ["red"], "moments": 0}, 422),
        ({"video": "films/more/blue.mp4", "queries": ["red"], "moments": 101}, 422),
        ({"video": "films/more/blue.mp4", "queries": ["red"], "other": 1}, 422),
        ({"video": "films/more/blue.mp4"}, 422),
        ([], 422),
    ],
)
def test_bad_questions_are_refused_in_plain_words(
    client: TestClient, films: Path, body: Any, status: int
) -> None:
    answer = client.post("/v1/moments", json=body)
    assert answer.status_code == status
    said = answer.json()
    assert said["error"]
    assert said["kind"]
    # Nothing about this machine.
    assert str(films) not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b'{"video": "\\ud800", "queries": ["\\ud800"]}', b"[" * 100_000, b"NaN"],
)
def test_bodies_that_are_no_json_are_refused(client: TestClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/moments", content=content, headers=headers)
    assert answer.status_code in {400, 422}
    assert answer.json()["error"]


def test_a_body_may_not_be_large(client: TestClient) -> None:
    assert ask(client, "x" * 2**20, "red").status_code == 413

    def endless() -> Any:
        for _ in range(40):
            yield b" " * 2**16

    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/moments", content=endless(), headers=headers)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "", "127.0.0.1@evil.example", "[::1", "0.0.0.0"],
)
def test_other_hosts_are_refused(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "LOCALHOST", "films.example:443"])
def test_own_hosts_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_service_for_other_machines_is_called_by_any_address(start: Start, films: Path) -> None:
    with TestClient(start(films, addresses=True), base_url="http://localhost") as client:
        for host, status in (("10.1.2.3:8000", 200), ("[fe80::1]", 200), ("evil.example", 421)):
            assert client.get("/healthz", headers={"Host": host}).status_code == status
        headers = {"Host": "10.1.2.3:8000", "Origin": "http://10.6.6.6:8000"}
        assert client.get("/healthz", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("https://films.example", 200),
        ("http://localhost:8000", 403),
        ("http://127.0.0.1", 403),
        ("http://evil.example", 403),
        ("http://10.0.0.1", 403),
        ("file://localhost", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(client: TestClient, origin: str, status: int) -> None:
    body = {"video": "films/more/blue.mp4", "queries": ["blue"]}
    answer = client.post("/v1/moments", json=body, headers={"Origin": origin})
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers


def test_questions_that_a_form_could_send_are_refused(client: TestClient) -> None:
    text = '{"video": "films/more/blue.mp4", "queries": ["blue"]}'
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/v1/moments", content=text, headers={"Content-Type": kind})
        assert answer.status_code == 422


def test_every_answer_is_marked_as_what_it_is(client: TestClient) -> None:
    for path in ("/healthz", "/v1/videos", "/gone", "/v1/media/films/more/blue.mp4"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"


def test_videos_are_sent_whole_and_in_parts(client: TestClient, films: Path) -> None:
    content = (films / "red, green.mp4").read_bytes()
    path = "/v1/media/films/red%2C%20green.mp4"
    whole = client.get(path)
    assert whole.content == content
    assert whole.headers["content-type"] == "video/mp4"
    part = client.get(path, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert client.get(path, headers={"Range": "bytes=-5"}).content == content[-5:]
    assert client.get(path, headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    assert client.head(path).headers["content-length"] == str(len(content))
    assert client.head(path).content == b""


@pytest.mark.parametrize(
    "path",
    [
        "films/../../../etc/passwd", "films/%2e%2e/%2e%2e/etc/passwd",
        "films/..%2f..%2fetc%2fpasswd", "/etc/passwd", "%2fetc%2fpasswd", "films/more",
        "films/", "", "films/a%00.mp4", "films/notes.txt",
        "films/link.mp4", "films/%252e%252e/x.mp4", "films/%ff.mp4", "uploads/",
        "uploads/x.mp4",
    ],
)  # fmt: skip
def test_nothing_else_is_sent(client: TestClient, films: Path, path: str) -> None:
    (films / "notes.txt").write_text("secret")
    (films / "link.mp4").symlink_to("/etc/passwd")
    answer = client.get(f"/v1/media/{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_are_closed(client: TestClient) -> None:
    path = "/v1/media/films/more/blue.mp4"
    client.get(path)
    before = open_files()
    for _ in range(5):
        client.get(path)
        client.get(path, headers={"Range": "bytes=0-1"})
        client.get(path, headers={"Range": "bytes=999999999-"})
        client.get(path, headers={"Range": "pages=1"})
        client.head(path)
    assert open_files() <= before + 1


BINARY = {"Content-Type": "application/octet-stream"}


def send(client: TestClient, content: bytes, name: str = "film.mp4") -> Any:
    return client.post("/v1/videos", params={"name": name}, content=content, headers=BINARY)


def test_an_upload_can_be_asked_about(client: TestClient, films: Path) -> None:
    sent = send(client, (films / "red, green.mp4").read_bytes(), "../../My Film.MP4")
    assert sent.status_code == 201
    name = sent.json()["video"]
    assert name.startswith("uploads/")
    found = ask(client, name, "green").json()
    assert found["answers"][0]["moments"][0]["start"] == pytest.approx(3, abs=0.2)
    assert client.get(f"/v1/media/{name}").content == (films / "red, green.mp4").read_bytes()
    # Nobody else hears of it.
    assert name not in client.get("/v1/videos").json()["videos"]


def test_uploads_are_bounded(start: Start, films: Path) -> None:
    app = start(films, largest=1000)
    with TestClient(app, base_url="http://localhost") as client:
        assert send(client, b"x" * 1001).status_code == 413

        def parts() -> Any:
            for _ in range(20):
                yield b"x" * 100

        answer = client.post("/v1/videos?name=a.mp4", content=parts(), headers=BINARY)
        assert answer.status_code == 413
        names = [send(client, b"x" * 900).json()["video"] for _ in range(3)]
        gone = [client.get(f"/v1/media/{name}").status_code for name in names]
        assert gone == [404, 200, 200]


@pytest.mark.parametrize("name", ["film.txt", "film", "", ".mp4", "x" * 300 + ".mp4", "a.html"])
def test_uploads_that_are_no_videos_by_name_are_refused(client: TestClient, name: str) -> None:
    assert send(client, b"x", name).status_code == 422


def test_other_uploads_are_refused(client: TestClient, start: Start, films: Path) -> None:
    assert send(client, b"").status_code == 422
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        headers = {"Content-Type": kind}
        answer = client.post("/v1/videos?name=a.mp4", content=b"x", headers=headers)
        assert answer.status_code == 415
    with TestClient(start(films, uploads=False), base_url="http://localhost") as other:
        assert send(other, b"x").status_code == 403


def test_too_many_questions_are_turned_away(
    start: Start, films: Path, localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    localize = localizer.localize

    def wait(*arguments: Any, **options: Any) -> Any:
        go.wait(30)
        return localize(*arguments, **options)

    monkeypatch.setattr(localizer, "localize", wait)
    with TestClient(start(films, waiting=1), base_url="http://localhost") as client:
        answers: list[int] = []

        def question() -> None:
            answers.append(ask(client, "films/more/blue.mp4", "blue").status_code)

        threads = [threading.Thread(target=question) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(1)
        refused = ask(client, "films/more/blue.mp4", "blue")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200
        go.set()
        for thread in threads:
            thread.join()
        assert answers == [200, 200]


def test_what_takes_too_long_is_given_up(
    start: Start, films: Path, localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(localizer, "localize", lambda *_, **__: time.sleep(1.5))
    with TestClient(start(films, timeout=1.0), base_url="http://localhost") as client:
        ask(client, "films/more/blue.mp4", "blue")
        answer = ask(client, "films/more/blue.mp4", "blue")
        assert answer.status_code in {503, 504}
        assert answer.json()["kind"] in {"busy", "timeout"}


def test_an_unexpected_error_says_nothing_of_the_inside(
    start: Start, films: Path, localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"something in {films}")

    monkeypatch.setattr(localizer, "localize", fail)
    app = start(films)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = ask(client, "films/more/blue.mp4", "blue")
    assert answer.status_code == 500
    assert answer.json()["kind"] == "internal"
    assert str(films) not in answer.text


def test_a_film_that_changes_is_read_again(client: TestClient, films: Path) -> None:
    from tests.support.colours import write_colour_video

    assert ask(client, "films/more/blue.mp4", "blue").json()["duration"] == pytest.approx(
        4, abs=0.2
    )
    write_colour_video(films / "more" / "blue.mp4", [("blue", 7)])
    assert ask(client, "films/more/blue.mp4", "blue").json()["duration"] == pytest.approx(
        7, abs=0.2
    )
    (films / "more" / "blue.mp4").unlink()
    assert ask(client, "films/more/blue.mp4", "blue").status_code == 404


def test_the_page_asks_the_service_it_came_from(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "films/more/blue.mp4" in page.text
    body = {"video": "films/red, green.mp4", "query": "green"}
    (film,) = client.post("/page/moments", json=body).json()["films"]
    (answer,) = film["answers"]
    assert answer["moments"][0]["start"] == pytest.approx(3, abs=0.2)
    assert len(answer["curve"]) == len(film["times"])
    assert film["images"]
    assert client.get(film["source"]).status_code == 200
    refused = client.post("/page/moments", json={"video": "films/broken.mp4", "query": "green"})
    assert isinstance(refused.json()["error"], str)
