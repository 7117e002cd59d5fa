"""What to find where: lists, folders, patterns, and ids that stay the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtloc_runtime.batch.job_lists.folder_listing import NamedVideos
from vtloc_runtime.batch.job_lists.job_files import read_sentences
from vtloc_runtime.batch.job_lists.jobs import group_by_video, read_jobs
from vtloc_runtime.errors import JobError, UsageError


def asked(jobs: list) -> list[tuple[str, str]]:
    return [(job.video, job.query) for job in jobs]


def test_every_video_is_asked_every_sentence() -> None:
    jobs = read_jobs(["a.mp4", "b.mp4"], ["one", "two"])
    assert asked(jobs) == [("a.mp4", "one"), ("a.mp4", "two"), ("b.mp4", "one"), ("b.mp4", "two")]


def test_ids_are_stable_and_unique() -> None:
    jobs = read_jobs(["a.mp4", "a.mp4", "b.mp4"], ["one"])
    assert [job.id for job in jobs] == [
        "dd0edc8aa6e9d120",
        "dd0edc8aa6e9d120-2",
        read_jobs(["b.mp4"], ["one"])[0].id,
    ]
    assert len({job.id for job in jobs}) == 3


def test_a_text_list_names_a_video_a_line(tmp_path: Path) -> None:
    listed = tmp_path / "videos.txt"
    listed.write_text("# films\na.mp4\n\n  b c.mp4  \r\n", encoding="utf-8-sig")
    assert asked(read_jobs([str(listed)], ["dog"])) == [("a.mp4", "dog"), ("b c.mp4", "dog")]


def test_paths_in_a_list_may_be_meant_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    listed = tmp_path / "videos.txt"
    listed.write_text("a.mp4\ngone.mp4\n")
    videos = [job.video for job in read_jobs([str(listed)], ["dog"])]
    assert videos == [str(tmp_path / "a.mp4"), "gone.mp4"]


def test_a_table_brings_its_own_sentences_and_ids(tmp_path: Path) -> None:
    listed = tmp_path / "jobs.csv"
    listed.write_text('Video,Query,id\na.mp4,"a dog, running",first\nb.mp4,a cat,\n')
    jobs = read_jobs([str(listed)], ["unused"])
    assert asked(jobs) == [("a.mp4", "a dog, running"), ("b.mp4", "a cat")]
    assert jobs[0].id == "first"
    assert jobs[1].id == read_jobs(["b.mp4"], ["a cat"])[0].id


def test_a_table_of_videos_alone_takes_the_sentences_given(tmp_path: Path) -> None:
    listed = tmp_path / "jobs.csv"
    listed.write_text("video\na.mp4\n")
    assert asked(read_jobs([str(listed)], ["dog"])) == [("a.mp4", "dog")]


def test_json_lines_bring_one_sentence_or_several(tmp_path: Path) -> None:
    listed = tmp_path / "jobs.jsonl"
    listed.write_text(
        '{"video": "a.mp4", "query": "dog", "id": 7}\n\n'
        '{"video": "b.mp4", "queries": ["cat", "cow"], "id": "x", "note": "ignored"}\n'
        '{"video": "c.mp4"}\n'
    )
    jobs = read_jobs([str(listed)], ["owl"])
    assert asked(jobs) == [
        ("a.mp4", "dog"),
        ("b.mp4", "cat"),
        ("b.mp4", "cow"),
        ("c.mp4", "owl"),
    ]
    assert [job.id for job in jobs[:3]] == ["7", "x.1", "x.2"]


def test_a_folder_gives_its_videos_in_order(tmp_path: Path) -> None:
    for name in ("b.MKV", "a.mp4", "notes.md", "deep/c.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    videos = [Path(job.video).name for job in read_jobs([str(tmp_path)], ["dog"])]
    assert videos == ["a.mp4", "b.MKV", "c.webm"]


def test_a_pattern_gives_what_it_matches(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "c.mkv"):
        (tmp_path / name).touch()
    videos = [Path(job.video).name for job in read_jobs([str(tmp_path / "*.mp4")], ["dog"])]
    assert videos == ["a.mp4", "b.mp4"]


def test_a_file_may_have_the_look_of_a_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "film [2019].mp4"
    odd.touch()
    assert [job.video for job in read_jobs([str(odd)], ["dog"])] == [str(odd)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "film,query\nx,y\n", "no column video"),
        ("a.csv", "", "no column video"),
        ("a.csv", "video,query\nx,a,b\n", "more fields"),
        ("a.csv", "video,query\n,a\n", "names no video"),
        ("a.csv", "video,query\n", "empty"),
        ("a.csv", 'video,query\na,"b\n', "not valid CSV"),
        ("a.txt", "# nothing\n", "empty"),
        ("a.jsonl", "{", "not valid JSON"),
        ("a.jsonl", "[]", "no video"),
        ("a.jsonl", '{"video": 3}', "no video"),
        ("a.jsonl", '{"video": "a", "queries": "dog"}', "a list"),
        ("a.jsonl", '{"video": "a", "query": 1}', "one sentence"),
        ("a.jsonl", '{"video": "a", "query": "b", "queries": []}', "both"),
        ("a.jsonl", '{"video": "a", "query": "b", "id": []}', "text or a number"),
        ("a.json", "[]", "Expected `object`"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", '{"v": {"sentences": "one"}}', "sentences"),
        ("a.txt", "A 0 1##a dog\nfilm.mp4\n", "START END"),
        ("a.jsonl", '{"qid": 1, "vid": "a"}', "field `query`"),
        (
            "a.jsonl",
            '{"video":"a","query":"b","id":1}\n{"video":"c","query":"d","id":1}',
            "two jobs",
        ),
    ],
)
def test_a_list_that_cannot_be_meant_names_the_place(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    listed = tmp_path / name
    listed.write_text(content)
    with pytest.raises(JobError, match=message) as caught:
        read_jobs([str(listed)], ["dog"], videos=tmp_path)
    assert caught.value.where


def test_lists_that_cannot_be_read_say_so(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(b"video\n\xff\xfe\n")
    for name in ("missing.jsonl", "binary.csv"):
        with pytest.raises(JobError, match=r"cannot read|not UTF-8"):
            read_jobs([str(tmp_path / name)], ["dog"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(JobError, match="no video"):
        read_jobs([str(tmp_path / "empty")], ["dog"])
    with pytest.raises(JobError, match="no file matches"):
        read_jobs([str(tmp_path / "*.mp4")], ["dog"])


def test_a_benchmark_is_a_job_list(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name in ("v_1.mp4", "AO8RW.avi", "x_0.0_150.0.mkv"):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).touch()
    captions, charades, highlights = (
        tmp_path / name for name in ("val.json", "sta.txt", "val.jsonl")
    )
    captions.write_text(
        '{"v_1": {"duration": 9, "timestamps": [[0, 1], [2, 3]], "sentences": ["one", " two "]}}'
    )
    charades.write_text("AO8RW 0.0 6.9##a person sits.\nGONE1 1.0 2.0##a cat\n")
    highlights.write_text('{"qid": 7, "query": "a dog", "duration": 150, "vid": "x_0.0_150.0"}\n')
    jobs = read_jobs([str(captions), str(charades), str(highlights)], videos=videos)
    assert [(job.id, job.video, job.query) for job in jobs] == [
        ("v_1.0", str(videos / "v_1.mp4"), "one"),
        ("v_1.1", str(videos / "v_1.mp4"), "two"),
        ("AO8RW.1", str(videos / "AO8RW.avi"), "a person sits."),
        ("GONE1.2", str(videos / "GONE1"), "a cat"),
        ("7", str(videos / "x_0.0_150.0.mkv"), "a dog"),
    ]
    with pytest.raises(JobError, match="without their place") as caught:
        read_jobs([str(charades)])
    assert "--videos" in str(caught.value)
    with pytest.raises(JobError, match="not name a folder"):
        read_jobs([str(charades)], videos=tmp_path / "elsewhere")


def test_json_lines_find_their_videos_in_the_folder_too(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("clip.mp4", "odd.bin"):
        (videos / name).touch()
    labels = tmp_path / "own.jsonl"
    labels.write_text(
        '{"id": 1, "video": "clip", "duration": 9, "query": "a dog", "moments": [[1, 2]]}\n'
        '{"id": 2, "video": "odd.bin", "query": "a cat"}\n{"video": "gone", "query": "a cow"}\n'
    )
    jobs = read_jobs([str(labels)], videos=videos)
    assert [job.video for job in jobs] == [
        str(videos / "clip.mp4"),
        str(videos / "odd.bin"),
        "gone",
    ]
    assert [job.id for job in jobs[:2]] == ["1", "2"]


@pytest.mark.media
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("activitynet_captions/val_1.json", 17505),
        ("charades_sta/charades_sta_test.txt", 3720),
        ("qvhighlights/highlight_val_release.jsonl", 1550),
    ],
)
def test_the_benchmarks_own_files_are_read_whole(media: Path, name: str, count: int) -> None:
    jobs = read_jobs([str(media / "annotations" / name)], videos=media / "videos")
    assert len(jobs) == count


def test_a_video_without_a_sentence_is_refused() -> None:
    with pytest.raises(UsageError, match="no sentence"):
        read_jobs(["a.mp4"])


def test_jobs_of_one_video_go_together() -> None:
    jobs = read_jobs(["a.mp4", "b.mp4", "a.mp4"], ["one"])
    groups = group_by_video(jobs)
    assert [(group.video, len(group.jobs)) for group in groups] == [("a.mp4", 2), ("b.mp4", 1)]


def videos_of(*inputs: object, notices: list[str] | None = None) -> list[str]:
    notice = None if notices is None else notices.append
    return [job.video for job in read_jobs([str(i) for i in inputs], ["dog"], notice=notice)]


@pytest.mark.parametrize(
    "name",
    [
        f"{'x' * 300}.mp4",
        "a\0b.mp4",
        "https://host/film.mp4?token=1",
        "https://host/list.csv",
        "rtsp://[::1]/x*",
        "gone.mp4",
        "bad\udcff.mp4",
    ],
)
def test_a_name_that_leads_nowhere_is_a_job_that_fails_later(tmp_path: Path, name: str) -> None:
    assert videos_of(name) == [name]
    if "\udcff" not in name and "\0" not in name:
        listed = tmp_path / "videos.txt"
        listed.write_text(f"{name}\n")
        assert videos_of(listed) == [name]


def test_separators_of_unicode_cut_no_list(tmp_path: Path) -> None:
    name = "a\u2028b\x85c\x0cd.mp4"
    (tmp_path / "v.txt").write_text(f"{name}\n", encoding="utf-8")
    assert videos_of(tmp_path / "v.txt") == [name]
    (tmp_path / "v.jsonl").write_text(
        f'{{"video": "{name[:3]}.mp4", "query": "{name[:3]}\x85"}}\n', encoding="utf-8"
    )
    (job,) = read_jobs([str(tmp_path / "v.jsonl")])
    assert job.query == "a\u2028b\x85"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", 'video;query\na.mp4;"a dog; two"\n;\n\nb.mp4;a cat, running\n'),
        ("a.tsv", "video\tquery\na.mp4\ta dog; two\n\t\nb.mp4\ta cat, running\n"),
        ("a.csv", 'video,query\na.mp4,a dog; two\n,\nb.mp4,"a cat, running"\n'),
        ("a.csv", "video|query\na.mp4|a dog; two\n|\nb.mp4|a cat, running\n"),
        ("a.tsv", "query:video:id\na dog; two:a.mp4:1\na cat, running:b.mp4:2\n"),
        ("a.csv", "Query~Video\na dog; two~a.mp4\na cat, running~b.mp4\n"),
    ],
)
def test_tables_come_with_any_usual_delimiter(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    jobs = read_jobs([str(tmp_path / name)])
    assert asked(jobs) == [("a.mp4", "a dog; two"), ("b.mp4", "a cat, running")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"[" * 100_000),
        ("a.json", b'{"a":' * 100_000),
        ("a.jsonl", '{"video": "a", "query": "b"}'.encode("utf-16")),
        ("a.jsonl", b'{"video": "a", "query": "b", "id": NaN}'),
        ("a.jsonl", b'{"video": "a", "query": "b", "id": true}'),
        ("a.csv", b'video\n"' + b"x" * 200_000 + b'"\n'),
        ("a.csv", b"\xff\xfev\x00i\x00d\x00"),
    ],
)
def test_lists_that_are_damaged_are_one_clear_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(JobError) as caught:
        read_jobs([str(tmp_path / name)], ["dog"])
    assert caught.value.where


@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.tsv", "a.jsonl"])
def test_every_list_finds_its_videos_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "boat.mp4").write_bytes(b"")
    lines = {
        "a.txt": "boat\n",
        "a.csv": "video,query\nboat,a boat\n",
        "a.tsv": "video\tquery\nboat.mp4\ta boat\n",
        "a.jsonl": '{"id": 1, "video": "boat", "duration": 6, "query": "a boat", "moments": []}\n',
    }
    (tmp_path / name).write_text(lines[name])
    (job,) = read_jobs([str(tmp_path / name)], ["a boat"], videos=tmp_path / "videos")
    assert job.video == str(tmp_path / "videos" / "boat.mp4")
    assert job.query == "a boat"


def test_a_sentence_among_the_videos_is_guessed() -> None:
    with pytest.raises(UsageError) as caught:
        read_jobs(["boat.mp4", "a boat"])
    assert "vtloc-run boat.mp4 -q 'a boat'" in str(caught.value)


def test_folders_skip_hidden_files_and_count_what_may_be_a_video(tmp_path: Path) -> None:
    for name in ("a.mp4", "._a.mp4", ".trash/b.mp4", "c.asf", "d.M2V", "e.webp", "f.srt", "g.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "gone.mp4").symlink_to("nowhere")
    notices: list[str] = []
    found = [Path(video).name for video in videos_of(tmp_path, notices=notices)]
    assert found == ["a.mp4", "c.asf", "d.M2V", "gone.mp4"]
    assert len(notices) == 1
    assert "2 .webp" in notices[0]


def test_linked_folders_are_followed_once_and_never_in_circles(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.mp4").touch()
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "a.mp4").touch()
    for link, target in (
        ("x", "../elsewhere"),
        ("y", "../elsewhere"),
        ("deep/up", ".."),
        ("top", "/"),
    ):
        (root / link).symlink_to(target)
    assert [Path(video).name for video in videos_of(root)] == ["a.mp4", "b.mp4"]


def test_a_folder_without_videos_says_what_it_holds(tmp_path: Path) -> None:
    for name in ("a.srt", "b.srt", "c"):
        (tmp_path / name).touch()
    with pytest.raises(JobError, match=r"2 \.srt, 1 without ending"):
        read_jobs([str(tmp_path)], ["dog"])


@pytest.mark.parametrize("mode", [0o000, 0o444])
def test_folders_that_may_not_be_entered_are_jobs_that_fail(tmp_path: Path, mode: int) -> None:
    (tmp_path / "ok").mkdir()
    (tmp_path / "ok" / "a.mp4").touch()
    (tmp_path / "no").mkdir()
    (tmp_path / "no" / "b.mp4").touch()
    (tmp_path / "no").chmod(mode)
    tmp_path.chmod(0o755)
    try:
        found = as_another_user(tmp_path)
    finally:
        (tmp_path / "no").chmod(0o755)
    unread = "no" if mode == 0 else "no/b.mp4"
    assert (
        found == [str(tmp_path / "ok" / "a.mp4"), str(tmp_path / unread)][:: 1 if mode == 0 else -1]
    )


def as_another_user(folder: Path) -> list[str]:
    """The videos that somebody without the rights of root finds; root may enter everything."""
    if os.geteuid() != 0:
        return videos_of(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.chdir(folder)
            os.seteuid(65534)
            os.write(writing, "\n".join(videos_of(".")).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        shown = file.read().split("\n")
    os.waitpid(child, 0)
    return [str(folder / name.removeprefix("./")) for name in shown]


@pytest.mark.parametrize("name", ["sub/a.b.mp4", "a.b.mp4", "a.b"])
def test_a_video_is_known_by_its_path_its_name_and_its_stem(name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.b.mp4").write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes(b"x")
    videos = NamedVideos(tmp_path)
    assert videos.find(name) == str(tmp_path / "sub" / "a.b.mp4")
    assert videos.find("a") is None
    assert videos.find("../" + name) is None


@pytest.mark.parametrize("name", ["pipe.txt", "pipe.csv", "pipe.jsonl", "pipe.json"])
def test_a_list_that_is_a_pipe_or_a_device_is_never_waited_for(name: str, tmp_path: Path) -> None:
    pipe = tmp_path / name
    os.mkfifo(pipe)
    endless = tmp_path / f"endless{pipe.suffix}"
    endless.symlink_to("/dev/zero")
    for path in (pipe, endless):
        with pytest.raises(JobError, match="pipe or a device"):
            read_jobs([str(path)], ["a dog"])
        with pytest.raises(JobError, match="pipe or a device"):
            read_sentences(path)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.jsonl", '{"video": "a.mp4", "video": "b.mp4", "query": "x"}', "'video' comes twice"),
        ("a.jsonl", '{"video": "", "query": "x"}', "no video"),
        ("a.jsonl", '{"video": "a.mp4", "query": "x", "id": %s}' % ("9" * 5000), "too long"),
        ("a.csv", "video,query,query\na.mp4,x,y\n", "2 columns query"),
        ("a.csv", 'video,query\na.mp4,x\nb.mp4,"y\n', "unexpected end"),
    ],
)
def test_a_list_with_two_meanings_or_none_is_refused(
    name: str, content: str, fault: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(JobError, match=fault) as caught:
        read_jobs([str(tmp_path / name)], ["a dog"])
    assert "set_int_max_str_digits" not in str(caught.value)
    if "end" in fault:
        assert str(caught.value.where).endswith(":3")


def test_names_that_a_list_holds_and_nothing_reads_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"video": "a.mp4", "qurey": "x", "duration": 5}\n{"video": "b.mp4", "note": 1}\n'
    )
    (tmp_path / "a.csv").write_text("video,query,colour\na.mp4,x,red\n")
    notices: list[str] = []
    for name in ("a.jsonl", "a.csv"):
        read_jobs([str(tmp_path / name)], ["a dog"], notice=notices.append)
    assert [notice.partition(": ")[2] for notice in notices] == [
        "not read: qurey, note",
        "not read: colour",
    ]


def test_a_name_that_no_file_can_have_is_one_failing_job(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"video": "\\ud800.mp4", "query": "x"}\n')
    (job,) = read_jobs([str(tmp_path / "a.jsonl")])
    assert job.video == "\\ud800.mp4"
    os.fsencode(job.video)
