"""How errors become answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

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
from vtloc_runtime.serve.folders import UnknownPictureError, UnknownVideoError
from vtloc_runtime.serve.protection import SAFE_HEADERS
from vtloc_runtime.serve.schema import Problem, first_fault
from vtloc_runtime.serve.uploads import TooLargeError
from vtloc_runtime.serve.work_queue import BusyError, GoneError, LateError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

_STATUSES: tuple[tuple[type[VtlocError], int], ...] = (
    (UnknownVideoError, 404),
    (UnknownPictureError, 404),
    (TooLargeError, 413),
    # To nobody, but metrics count it, by the status that web servers have for it.
    (GoneError, 499),
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

PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The request cannot be read."},
    403: {"model": Problem, "description": "A page of another site sent the request."},
    404: {"model": Problem, "description": "There is no such video or picture."},
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
"""What may be wrong, for the API's description."""


def handle_errors(app: FastAPI) -> None:
    """Let an application answer errors; ``app.state.device_lost`` says if its GPU is lost.

    Args:
        app: The application.
    """
    app.state.device_lost = False

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
        return JSONResponse(
            Problem(error=first_fault(error.errors()), kind="request").model_dump(), 422
        )

    @app.exception_handler(Exception)
    async def fail(_: Request, error: Exception) -> Response:
        content = Problem(error=f"internal error: {type(error).__name__}", kind="internal")
        return JSONResponse(content.model_dump(), 500, SAFE_HEADERS)


def problem(error: VtlocError) -> Response:
    """An error as an answer. Where it happened is left out: it may be a path of the server's."""
    status = next((code for kind, code in _STATUSES if isinstance(error, kind)), 422)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, BusyError) else None
    found = describe(error)
    content = Problem(error=found.what, kind=found.kind, remedy=found.remedy)
    return JSONResponse(content.model_dump(), status, headers)
