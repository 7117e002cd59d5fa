"""The HTTP API: its routes."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

import vtloc_runtime
from vtloc_runtime.library.film_search import SearchOptions
from vtloc_runtime.report.page import content_policy
from vtloc_runtime.serve.folders import (
    LARGEST_PICTURE,
    STILLS,
)
from vtloc_runtime.serve.live_page import live_page, page_answer
from vtloc_runtime.serve.metrics import CONTENT_TYPE
from vtloc_runtime.serve.problems import PROBLEMS, handle_errors
from vtloc_runtime.serve.protection import Protection
from vtloc_runtime.serve.schema import (
    Health,
    MomentsAnswer,
    MomentsRequest,
    PageQuestion,
    SearchRequest,
    SearchResult,
    Uploaded,
    UploadedPicture,
    VideoList,
)
from vtloc_runtime.serve.uploads import FOLDER

if TYPE_CHECKING:
    from pydantic import BaseModel

    from vtloc_runtime.serve.metrics import Metrics
    from vtloc_runtime.serve.service import Service
    from vtloc_runtime.serve.uploads import Uploads
    from vtloc_runtime.serve.work_queue import WorkQueue

UPLOAD_PATH = "/v1/videos"
PICTURE_PATH = "/v1/pictures"
MEDIA_PATH = "/v1/media/"
PAGE_PATH = "/page/moments"
LARGEST_BODY = 2**20
"""Bytes of a request that is not an upload."""

BODY_TIMEOUT = 30.0
"""Seconds in which it must arrive."""

_LISTED = 10_000
_FILE = {
    "required": True,
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API is made of.

    Attributes:
        service: Answers questions.
        uploads: Keeps uploads; None refuses them.
        work: Bounds the questions that are answered at once.
        metrics: Counts requests.
        hosts: Names by which the service may be called.
        addresses: Whether it may be called by any IP address.
        upload_timeout: Seconds in which an upload must arrive.
    """

    service: Service
    uploads: Uploads | None
    work: WorkQueue
    metrics: Metrics
    hosts: Collection[str]
    addresses: bool
    upload_timeout: float


def create_app(parts: Parts) -> FastAPI:
    """The application.

    Args:
        parts: What it is made of. The work queue is closed when the application stops.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(parts.work.close)

    app = FastAPI(
        title="vtloc",
        summary="Find the moment of a video that a sentence describes.",
        version=vtloc_runtime.__version__,
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    uploads = parts.uploads
    bounds: dict[str, tuple[int, float]] = {}
    if uploads is not None:
        bounds[UPLOAD_PATH] = (uploads.largest, parts.upload_timeout)
        bounds[PICTURE_PATH] = (LARGEST_PICTURE, parts.upload_timeout)
    app.add_middleware(
        Protection,
        hosts=parts.hosts,
        addresses=parts.addresses,
        bounds=lambda path: bounds.get(path, (LARGEST_BODY, BODY_TIMEOUT)),
        metrics=parts.metrics,
    )
    parts.metrics.watch(lambda: parts.work.held)
    handle_errors(app)
    _add_status(app, parts)
    _add_videos(app, parts)
    _add_questions(app, parts)
    _add_page(app, parts)
    return app


def _add_status(app: FastAPI, parts: Parts) -> None:
    localizer = parts.service.localizer

    @app.get("/healthz", responses={503: {"model": Health}})
    async def health(response: Response) -> Health:
        """Whether the service works."""
        lost = app.state.device_lost
        if lost:
            response.status_code = 503
        return Health(
            status="the GPU is lost; start the service again" if lost else "ok",
            version=vtloc_runtime.__version__,
            bundle=localizer.bundle.manifest.name,
            backend=localizer.backend,
        )

    @app.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def read_metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE)


def _add_videos(app: FastAPI, parts: Parts) -> None:
    folders, uploads = parts.service.folders, parts.uploads

    @app.get("/v1/videos", responses=PROBLEMS)
    def list_videos() -> VideoList:
        """The videos of the served folders."""
        names = [one for one in folders.names() if not one.startswith(f"{FOLDER}/")]
        return VideoList(videos=names[:_LISTED], total=len(names))

    @app.post(
        UPLOAD_PATH, status_code=201, responses=PROBLEMS, openapi_extra={"requestBody": _FILE}
    )
    async def upload(
        request: Request,
        name: Annotated[
            str, Query(min_length=1, max_length=255, description="The file's name: film.mp4.")
        ],
    ) -> Uploaded:
        """Send a video. It is kept until the service ends, or room is needed for others."""
        keeper = _keeper(uploads, request, "video")
        return Uploaded(video=await keeper.save(name, request.stream()))

    @app.post(
        PICTURE_PATH, status_code=201, responses=PROBLEMS, openapi_extra={"requestBody": _FILE}
    )
    async def upload_picture(
        request: Request,
        name: Annotated[
            str, Query(min_length=1, max_length=255, description="The file's name: dog.jpg.")
        ],
    ) -> UploadedPicture:
        """Send a picture to ask with. It is kept as videos are."""
        keeper = _keeper(uploads, request, "image")
        kept = await keeper.save(name, request.stream(), suffixes=STILLS, largest=LARGEST_PICTURE)
        return UploadedPicture(picture=kept)

    @app.head(MEDIA_PATH + "{name:path}", include_in_schema=False)
    @app.get(MEDIA_PATH + "{name:path}", response_class=FileResponse, responses=PROBLEMS)
    def read_video(name: str) -> FileResponse:
        """A video's file, or a range of its bytes."""
        with ExitStack() as stack:
            video = stack.enter_context(folders.open(name))
            descriptor = video.file.fileno()
            return FileResponse(
                # The file that was opened, whatever its name leads to meanwhile.
                f"/proc/self/fd/{descriptor}",
                media_type=_media_type(name),
                stat_result=os.fstat(descriptor),
                filename=PurePosixPath(name).name,
                content_disposition_type="inline",
                background=BackgroundTask(stack.pop_all().close),
            )


def _add_questions(app: FastAPI, parts: Parts) -> None:
    service, work = parts.service, parts.work

    async def answer(request: Request, do: Callable[[], BaseModel]) -> Response:
        # Written by the worker: the event loop has the other requests to look after.
        content = await work.run(lambda: do().model_dump_json(), gone=_gone(request))
        return Response(content, media_type="application/json")

    @app.post("/v1/moments", response_model=MomentsAnswer, responses=PROBLEMS)
    async def find_moments(asked: MomentsRequest, request: Request) -> Response:
        """Find the moments of a video that sentences describe, or that pictures resemble."""
        return await answer(
            request,
            lambda: MomentsAnswer.from_answers(
                service.find(
                    asked.video,
                    asked.queries,
                    rewrites=asked.rewrites,
                    like=asked.like,
                    moments=asked.moments,
                )
            ),
        )

    @app.post("/v1/search", response_model=SearchResult, responses=PROBLEMS)
    async def search_videos(asked: SearchRequest, request: Request) -> Response:
        """Search all videos of the served folders. Videos that are new are indexed meanwhile."""
        options = SearchOptions(asked.top, asked.moments, asked.min_score, asked.found_only)
        return await answer(
            request,
            lambda: SearchResult.from_answer(
                service.search(asked.query, options, rewrites=asked.rewrites, like=asked.like)
            ),
        )


def _add_page(app: FastAPI, parts: Parts) -> None:
    service, work = parts.service, parts.work

    @app.get("/", include_in_schema=False)
    def show_page() -> HTMLResponse:
        upload = None if parts.uploads is None else UPLOAD_PATH
        page = live_page(service, ask=PAGE_PATH, upload=upload)
        headers = {
            "Content-Security-Policy": f"{content_policy(live=True)}; frame-ancestors 'none'",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(page, headers=headers)

    @app.post(PAGE_PATH, include_in_schema=False)
    async def ask_from_page(asked: PageQuestion, request: Request) -> Response:
        content = await work.run(
            lambda: page_answer(service, asked.video, asked.query, MEDIA_PATH), gone=_gone(request)
        )
        return Response(content, media_type="application/json")


def _keeper(uploads: Uploads | None, request: Request, kind: str) -> Uploads:
    """What keeps an upload, if it may be sent."""
    if uploads is None:
        raise HTTPException(403, "this service takes no uploads")
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Types that no page of another site can send unasked.
    if sent != "application/octet-stream" and not sent.startswith(f"{kind}/"):
        raise HTTPException(415, "send the file as application/octet-stream")
    return uploads


def _gone(request: Request) -> Callable[[], Awaitable[None]]:
    """What waits until the caller of a request has gone."""

    async def wait() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return wait


def _media_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0]
    return kind if kind is not None and kind.startswith("video/") else "application/octet-stream"
