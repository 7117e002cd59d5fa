"""Lists of videos and sentences, and the benchmarks' annotations, as jobs and for training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random

from tests.fuzz.mutation import dump_json, mutate_json, mutate_text
from tests.fuzz.target import Input, Target, attempt
from vtloc.annotations import read_split
from vtloc_runtime.batch.job_lists.jobs import group_by_video, read_jobs, read_videos

_LISTS = (
    Input(b"a.mp4\n# a comment\nb.mkv\n", ".txt"),
    Input(b'video,query,id\na.mp4,"a, dog",1\nb.mp4,cat,2\n', ".csv"),
    Input(b"video\tquery\na.mp4\ta dog\n", ".tsv"),
    Input(
        b'{"video":"a.mp4","query":"x","id":1}\n{"video":"b.mp4","queries":["x","y"]}\n', ".jsonl"
    ),
    Input(b'{"v_1":{"duration":9.0,"timestamps":[[0,1],[2,5]],"sentences":["x"," y"]}}', ".json"),
    Input(b'{"qid":1,"vid":"a","query":"x","duration":9,"relevant_windows":[[0,2]]}\n', ".jsonl"),
    Input(b'{"id":"1","video":"a","query":"x","duration":9.0,"moments":[[0.0,2.0]]}\n', ".jsonl"),
    Input(b"AO8RW 0.0 6.9##a person\nAB 1 2##x\n", ".txt"),
)


class JobLists(Target):
    """One list, read for each purpose."""

    name = "lists"
    count = 300

    def good(self) -> Sequence[Input]:
        return _LISTS

    def known(self) -> Mapping[str, Input]:
        return {
            "a name of 300 characters": Input(b"x" * 300 + b".mp4\na.mp4\n", ".txt"),
            "a NUL in a name": Input(b"a\0b.mp4\n", ".txt"),
            "escapes in a name": Input(b"\x1b]0;owned\a\x1b[31mx.mp4\n", ".txt"),
            "brackets": Input(b"[" * 100_000, ".json"),
            "brackets in a line": Input(b'{"video":' + b"[" * 100_000 + b"\n", ".jsonl"),
            "a line separator": Input('{"video":"a\u2028b.mp4","query":"x"}\n'.encode(), ".jsonl"),
            "half a surrogate pair": Input(rb'{"video":"\ud800.mp4","query":"x"}', ".jsonl"),
            "a row of 200,000 characters": Input(b"video,query\na," + b"y" * 200_000, ".csv"),
            "one long field of quotes": Input(b'video,query\na,"' + b"y\n" * 100_000, ".csv"),
            "an id of 5,000 digits": Input(
                b'{"video":"a","query":"x","id":' + b"9" * 5_000 + b"}", ".jsonl"
            ),
            "no column video": Input(b"film,query\na,b\n", ".csv"),
            "UTF-16": Input("a.mp4\n".encode("utf-16"), ".txt"),
            "nothing": Input(b"", ".csv"),
        }

    def make(self, chance: Random) -> Input:
        seed = chance.choice(_LISTS)
        content = seed.content
        if "json" in seed.suffix and chance.random() < 0.5:
            content = b"\n".join(
                dump_json(chance, mutate_json(chance, json.loads(line)))
                for line in content.splitlines()
            )
        else:
            content = mutate_text(chance, content)
        if chance.random() < 0.1:
            content += b"\n" + b"y" * chance.choice((300, 5_000, 200_000)) + b",q,9\n"
        return Input(content, seed.suffix)

    def run(self, given: Input) -> None:
        path = self.folder / f"list{given.suffix}"
        path.write_bytes(given.content)
        videos = self.folder

        def as_jobs() -> None:
            jobs = read_jobs([str(path)], ["a dog"], videos=videos)
            assert jobs
            assert len({job.id for job in jobs}) == len(jobs)
            assert sum(len(group.jobs) for group in group_by_video(jobs)) == len(jobs)

        attempt(
            as_jobs,
            lambda: read_videos([str(path)], videos=videos),
            lambda: read_split(path),
        )
