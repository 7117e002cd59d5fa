"""Writing films leaves the thread as it was."""

from __future__ import annotations

import os

import pytest

from recipes.films.priority import kept_priority
from tests.support.films import Film

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getscheduler"), reason="threads have no schedulers that can be read"
)


def test_an_av1_film_leaves_the_thread_with_its_priority() -> None:
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    Film(codec="libsvtav1", container="matroska", options={"preset": "11"}).make()
    assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before


def test_the_priority_is_given_back_after_an_error() -> None:
    @kept_priority()
    def fail() -> None:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
        raise ZeroDivisionError

    before = os.sched_getscheduler(0)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert os.sched_getscheduler(0) == before
