"""A service over films of plain colours, in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.support.colours import write_colour_bundle, write_colour_video
from vtloc_runtime import Localizer
from vtloc_runtime.batch import FeatureCache
from vtloc_runtime.serve.app import Parts, create_app
from vtloc_runtime.serve.folders import ServedFolders
from vtloc_runtime.serve.metrics import Metrics
from vtloc_runtime.serve.service import Service
from vtloc_runtime.serve.uploads import FOLDER, Uploads
from vtloc_runtime.serve.work_queue import WorkQueue


@pytest.fixture(scope="session")
def few_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a subfolder, two films and a broken one; not to be changed."""
    folder = tmp_path_factory.mktemp("served") / "films"
    (folder / "more").mkdir(parents=True)
    write_colour_video(folder / "red, green.mp4", [("red", 3), ("green", 3)])
    write_colour_video(folder / "more" / "blue.mp4", [("blue", 4)])
    (folder / "broken.mp4").write_text("words")
    return folder


@pytest.fixture
def films(few_films: Path, tmp_path: Path) -> Path:
    """The same folder, for a test to change."""
    return shutil.copytree(few_films, tmp_path / "films")


@pytest.fixture(scope="session")
def shared_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of colours; not to be changed."""
    return write_colour_bundle(tmp_path_factory.mktemp("serve bundle") / "colours")


@pytest.fixture(scope="session")
def localizer(shared_bundle: Path) -> Iterator[Localizer]:
    with Localizer.open(shared_bundle, threads=1) as opened:
        yield opened


Start = Callable[..., FastAPI]


@pytest.fixture
def start(localizer: Localizer, tmp_path: Path) -> Iterator[Start]:
    """Make an application over folders; what it holds is closed after the test."""
    with ExitStack() as stack:

        def begin(*folders: Path, **options: Any) -> FastAPI:
            served = ServedFolders(folders)
            service = Service(localizer, served, FeatureCache(tmp_path / "cache"), decoders=1)
            stack.callback(service.close)
            uploads = None
            if options.get("uploads", True):
                largest = options.get("largest", 2**20)
                uploads = stack.enter_context(Uploads(largest=largest, bound=2 * largest))
                served.add(FOLDER, uploads.folder)
            work = WorkQueue(1, options.get("waiting", 2), options.get("timeout", 30.0))
            stack.callback(work.close)
            return create_app(
                Parts(
                    service=service,
                    uploads=uploads,
                    work=work,
                    metrics=Metrics(),
                    hosts={"localhost", "127.0.0.1", "films.example", "testserver"},
                    addresses=options.get("addresses", False),
                    upload_timeout=options.get("upload_timeout", 30.0),
                )
            )

        yield begin


@pytest.fixture
def client(start: Start, films: Path) -> Iterator[TestClient]:
    """A client of a service over the films."""
    with TestClient(start(films), base_url="http://localhost") as opened:
        yield opened
