"""Lists of videos and sentences to records: videos in parallel, each encoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloc_runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from vtloc_runtime.batch.answer import run_jobs
    from vtloc_runtime.batch.job_lists.jobs import (
        Job,
        VideoJobs,
        group_by_video,
        read_jobs,
        read_videos,
    )
    from vtloc_runtime.batch.results.records import Failure, FoundMoment, Record
    from vtloc_runtime.batch.run import Progress
    from vtloc_runtime.batch.workers.worker_pool import PipelineOptions
    from vtloc_runtime.localize.encoding.feature_cache import FeatureCache

__all__ = [
    "Failure",
    "FeatureCache",
    "FoundMoment",
    "Job",
    "PipelineOptions",
    "Progress",
    "Record",
    "VideoJobs",
    "group_by_video",
    "read_jobs",
    "read_videos",
    "run_jobs",
]

_HOMES = {
    "run_jobs": "vtloc_runtime.batch.answer",
    "Job": "vtloc_runtime.batch.job_lists.jobs",
    "VideoJobs": "vtloc_runtime.batch.job_lists.jobs",
    "group_by_video": "vtloc_runtime.batch.job_lists.jobs",
    "read_jobs": "vtloc_runtime.batch.job_lists.jobs",
    "read_videos": "vtloc_runtime.batch.job_lists.jobs",
    "Failure": "vtloc_runtime.batch.results.records",
    "FoundMoment": "vtloc_runtime.batch.results.records",
    "Record": "vtloc_runtime.batch.results.records",
    "Progress": "vtloc_runtime.batch.run",
    "PipelineOptions": "vtloc_runtime.batch.workers.worker_pool",
    "FeatureCache": "vtloc_runtime.localize.encoding.feature_cache",
}

# Hidden from type checkers, for which it would make every name valid.
if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
