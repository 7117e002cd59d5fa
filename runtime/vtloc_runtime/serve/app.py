"""The HTTP API: routes, and how errors become answers."""

from __future__ import annotations

import mimetypes
import os
from collections.abc import AsyncIterator, Collection
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException

import vtloc_runtime
from vtloc_runtime.batch.results.records import describe
from vtloc_runtime.errors import (
    BackendError,
    BundleError,
    DeviceLostError,
    FeatureError,
    NetworkError,
    OutputError,
    VtlocError,
)
from vtloc_runtime.library.search import SearchOptions
from vtloc_runtime.report.page import content_policy
from vtloc_runtime.serve.folders import UnknownVideoError
from vtloc_runtime.serve.live_page import live_page, page_answer
from vtloc_runtime.serve.metrics import CONTENT_TYPE
from vtloc_runtime.serve.protection import SAFE_HEADERS, Protection
from vtloc_runtime.serve.schema import (
    Health,
    MomentsAnswer,
    MomentsRequest,
    PageQuestion,
    Problem,
    SearchRequest,
    SearchResult,
    Uploaded,
    VideoList,
)
from vtloc_runtime.serve.uploads import FOLDER, TooLargeError
from vtloc_runtime.serve.work_queue import BusyError, LateError

if TYPE_CHECKING:
    from vtloc_runtime.serve.metrics import Metrics
    from vtloc_runtime.serve.service import Service
    from vtloc_runtime.serve.uploads import Uploads
    from vtloc_runtime.serve.work_queue import WorkQueue

UPLOAD_PATH = "/v1/videos"
MEDIA_PATH = "/v1/media/"
PAGE_PATH = "/page/moments"
LARGEST_BODY = 2**20
"""Bytes of a request that is not an upload."""

_LISTED = 10_000
_STATUSES: tuple[tuple[type[VtlocError], int], ...] = (
    (UnknownVideoError, 404),
    (TooLargeError, 413),
    (BusyError, 503),
    (LateError, 504),
    (DeviceLostError, 503),
    (OutputError, 507),
    (BackendError, 500),
    (BundleError, 500),
    (NetworkError, 500),
    (FeatureError, 500),
)
"""Statuses of errors; any other is a fault of the request, 422."""

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be read."},
    403: {"model": Problem, "description": "A page of another site sent the request."},
    404: {"model": Problem, "description": "There is no such video."},
    408: {"model": Problem, "description": "The request took too long to arrive."},
    413: {"model": Problem, "description": "The request is too large."},
    421: {"model": Problem, "description": "The service is not known by this name."},
    415: {"model": Problem, "description": "The file is sent as something else."},
    422: {"model": Problem, "description": "The request, its sentence or its video is invalid."},
    500: {"model": Problem, "description": "The backend failed."},
    503: {"model": Problem, "description": "Too many requests; see Retry-After."},
    504: {"model": Problem, "description": "It took too long."},
    507: {"model": Problem, "description": "There is no room."},
}


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
        upload_timeout: Seconds in which a request must arrive.
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
    app.add_middleware(
        Protection,
        hosts=parts.hosts,
        addresses=parts.addresses,
        largest=lambda path: uploads.largest if uploads and path == UPLOAD_PATH else LARGEST_BODY,
        timeout=parts.upload_timeout,
        metrics=parts.metrics,
    )
    app.state.device_lost = False
    parts.metrics.watch(lambda: parts.work.held)
    _handle_errors(app)
    _add_status(app, parts)
    _add_videos(app, parts)
    _add_questions(app, parts)
    _add_page(app, parts)
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(VtlocError)
    async def refuse(_: Request, error: VtlocError) -> Response:
        if isinstance(error, DeviceLostError):
            app.state.device_lost = True
        return problem(error)

    @app.exception_handler(HTTPException)
    async def refuse_request(_: Request, error: HTTPException) -> Response:
        content = Problem(error=str(error.detail), kind="request")
        return JSONResponse(content.model_dump(), error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_values(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse(Problem(error=_invalid(error), kind="request").model_dump(), 422)

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        content = Problem(error=f"internal error: {type(error).__name__}", kind="internal")
        return JSONResponse(content.model_dump(), 500, SAFE_HEADERS)


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

    @app.get("/v1/videos", responses=_PROBLEMS)
    def list_videos() -> VideoList:
        """The videos of the served folders."""
        names = [one for one in folders.names() if not one.startswith(f"{FOLDER}/")]
        return VideoList(videos=names[:_LISTED], total=len(names))

    @app.post(
        UPLOAD_PATH, status_code=201, responses=_PROBLEMS, openapi_extra={"requestBody": _FILE}
    )
    async def upload(
        request: Request,
        name: Annotated[
            str, Query(min_length=1, max_length=255, description="The file's name: film.mp4.")
        ],
    ) -> Uploaded:
        """Send a video. It is kept until the service ends, or room is needed for others."""
        if uploads is None:
            raise HTTPException(403, "this service takes no uploads")
        # Of a type that no page of another site can send unasked.
        if not _is_binary(request.headers.get("content-type", "")):
            raise HTTPException(415, "send the file as application/octet-stream")
        return Uploaded(video=await uploads.save(name, request.stream()))

    @app.head(MEDIA_PATH + "{name:path}", include_in_schema=False)
    @app.get(MEDIA_PATH + "{name:path}", response_class=FileResponse, responses=_PROBLEMS)
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

    @app.post("/v1/moments", responses=_PROBLEMS)
    async def find_moments(asked: MomentsRequest) -> MomentsAnswer:
        """Find the moments of a video that sentences describe."""
        return await work.run(
            lambda: MomentsAnswer.from_answers(
                service.find(asked.video, asked.queries, moments=asked.moments)
            )
        )

    @app.post("/v1/search", responses=_PROBLEMS)
    async def search_videos(asked: SearchRequest) -> SearchResult:
        """Search all videos of the served folders. Videos that are new are indexed meanwhile."""
        options = SearchOptions(asked.top, asked.moments, asked.min_score, asked.found_only)
        return await work.run(
            lambda: SearchResult.from_answer(service.search(asked.query, options))
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
    async def ask_from_page(asked: PageQuestion) -> Response:
        content = await work.run(lambda: page_answer(service, asked.video, asked.query, MEDIA_PATH))
        return Response(content, media_type="application/json")


def problem(error: VtlocError) -> Response:
    """An error as an answer. Where it happened is left out: it may be a path of the server's."""
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 422)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, BusyError) else None
    found = describe(error)
    content = Problem(error=found.what, kind=found.kind, remedy=found.remedy)
    return JSONResponse(content.model_dump(), status, headers)


def _invalid(error: RequestValidationError) -> str:
    """The first thing that is wrong with a request, without repeating what it holds."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part != "body")
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _is_binary(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/octet-stream" or kind.startswith("video/")


def _media_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0]
    return kind if kind is not None and kind.startswith("video/") else "application/octet-stream"
