"""The end of a run whose backend is lost, before every video left is called a failure."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, TypeVar

from vtloc_runtime.batch.records import PASSING_KINDS
from vtloc_runtime.errors import BackendError, NetworkError, OutputError, VtlocError

if TYPE_CHECKING:
    from vtloc_runtime.batch.records import Failure

_Result = TypeVar("_Result")

IN_A_ROW = 3
"""Videos that fail alike, one after another, before the backend is taken for the cause."""

_ERRORS: dict[str, type[VtlocError]] = {
    error.kind: error for error in (BackendError, NetworkError, OutputError)
}


def end_on_lost_backend(
    results: Generator[_Result, None, None],
    failure_of: Callable[[_Result], Failure | None],
    *,
    kinds: frozenset[str] = PASSING_KINDS,
) -> Generator[_Result, None, None]:
    """Pass results on until several videos in a row fail for a reason outside of them.

    Such failures are held back until a video succeeds, which shows that the others were to blame
    themselves, or until the results end.

    Args:
        results: The results of videos, as they come; closed at the end.
        failure_of: Why a video failed; None where it did not.
        kinds: Kinds of failures that count.

    Yields:
        The results.

    Raises:
        VtlocError: Of the kind that the last of the videos failed with. The results that were
            held back are not given.
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
        remedy=f"{advice}These videos do not count as failed: mend the cause, then give the same "
        "command again to go on",
    )
