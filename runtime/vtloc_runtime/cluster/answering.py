"""What workers do with the jobs of a video: as in one process, record by record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtloc_runtime.batch.records import Record, failure_record
from vtloc_runtime.batch.worker_pool import answer_video

if TYPE_CHECKING:
    from vtloc_runtime.batch.jobs import VideoJobs
    from vtloc_runtime.errors import ClusterError
    from vtloc_runtime.localize.feature_cache import FeatureCache
    from vtloc_runtime.localize.localizer import Localizer
    from vtloc_runtime.video.isolation.chunks import Read


@dataclass(frozen=True, slots=True)
class AnswerVideos:
    """Answer the jobs of videos on a cluster.

    Attributes:
        moments: Moments wanted for each sentence at most.
        run: What the answers depend on, for the records.
        cache: Where each machine keeps encoded videos; None keeps none.
    """

    moments: int
    run: str
    cache: FeatureCache | None

    def do(self, localizer: Localizer, task: VideoJobs, read: Read) -> list[Record]:
        """Answer every job of one video; whatever fails becomes a record."""
        return answer_video(
            localizer, task, moments=self.moments, run=self.run, cache=self.cache, read=read
        )

    def give_up(self, task: VideoJobs, error: ClusterError) -> list[Record]:
        """Records that say why the video's jobs have no answer."""
        return [failure_record(job, error, run=self.run) for job in task.jobs]
