"""A backend that is lost ends the run; a video that it fails on alone does not."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from vtloc_runtime.batch.results.records import Failure
from vtloc_runtime.batch.workers.lost_backend import IN_A_ROW, end_on_lost_backend
from vtloc_runtime.errors import BackendError, NetworkError

FAILURES = {
    "N": Failure(kind="network", what="the run failed"),
    "B": Failure(kind="backend", what="the device is lost", where="cuda:0", remedy="Restart"),
    "V": Failure(kind="video", what="damaged"),
}


def passed_on(results: str) -> str:
    def one_by_one() -> Generator[str, None, None]:
        yield from results

    return "".join(end_on_lost_backend(one_by_one(), FAILURES.get))


@pytest.mark.parametrize("results", ["", "..", "V.VVVV.", ".N.", "N.N.N.N.", ".NN.", "..N", "NN"])
def test_failures_between_successes_are_the_videos_own(results: str) -> None:
    assert sorted(passed_on(results)) == sorted(results)


def test_failures_that_were_held_back_come_before_the_success() -> None:
    assert passed_on(".NB..") == ".NB.."


@pytest.mark.parametrize(
    ("results", "kind"), [("..NNN..", NetworkError), ("BVBVB", BackendError), ("NNB", BackendError)]
)
def test_failures_in_a_row_end_the_run(results: str, kind: type[Exception]) -> None:
    given: list[str] = []
    closed: list[bool] = []

    def one_by_one() -> Generator[str, None, None]:
        try:
            yield from results
        finally:
            closed.append(True)

    with pytest.raises(kind, match=f"{IN_A_ROW} videos in a row failed"):
        given.extend(end_on_lost_backend(one_by_one(), FAILURES.get))
    assert closed == [True]
    assert not {"N", "B"} & set(given)
