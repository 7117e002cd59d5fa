"""Ends a run whose backend is lost, instead of failing all remaining videos."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

from vtloc_runtime.batch.results.records import PASSING_KINDS
from vtloc_runtime.errors import BackendError, NetworkError, OutputError, VtlocError

if TYPE_CHECKING:
    from vtloc_runtime.batch.results.records import Failure

_Result = TypeVar("_Result")

IN_A_ROW = 3
"""Number of videos in a row that must fail alike before the backend is blamed."""

_ERRORS: dict[str, type[VtlocError]] = {
    error.kind: error for error in (BackendError, NetworkError, OutputError)
}


def end_on_lost_backend(
    results: Generator[_Result, None, None],
    failure_of: Callable[[_Result], Failure | None],
    *,
    kinds: frozenset[str] = PASSING_KINDS,
) -> Generator[_Result, None, None]:
    """Yield results until several videos in a row fail for a reason outside of them.

    Such failures are delayed until a video succeeds, which shows that the backend works, or until
    the results end.

    Args:
        results: The results of videos, as they finish; closed at the end.
        failure_of: Returns why a video failed; None if it did not.
        kinds: The kinds of errors that count.

    Yields:
        The results.

    Raises:
        VtlocError: The error of the last video. The delayed results are not returned.
    """
    held: list[_Result] = []
    try:
        for result in results:
            failure = failure_of(result)
            if failure is not None and failure.kind in kinds:
                held.append(result)
                if len(held) == IN_A_ROW:
                    raise _lost(failure)
                continue
            if failure is None:
                yield from held
                held.clear()
            yield result
        yield from held
    finally:
        results.close()


def _lost(failure: Failure) -> VtlocError:
    advice = f"{failure.remedy}. " if failure.remedy else ""
    return _ERRORS.get(failure.kind, VtlocError)(
        f"{IN_A_ROW} videos in a row failed, the last with: {failure.what}",
        where=failure.where,
        remedy=f"{advice}These videos do not count as failed: fix the cause, then run the same "
        "command again to resume",
    )
