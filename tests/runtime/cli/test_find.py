"""``vtloc-run`` as people and programs meet it: answers, errors, exit codes, interruptions."""

from __future__ import annotations

import json
import os
import pty
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.colours import edit_manifest, write_colour_video
from tests.support.command_line import lines, run
from vtloc_runtime import errors
from vtloc_runtime.cli import find_run
from vtloc_runtime.cli.console import exit_codes
from vtloc_runtime.cli.main import COMMANDS

PROGRAM = [sys.executable, "-c", "from vtloc_runtime.cli.main import main; main()"]


def test_it_finds_moments_and_prints_json_into_a_pipe(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "-q", "green", "-q", "the screen turns blue", "-b", bundle) == 0
    shown = capsys.readouterr()
    green, blue = lines(shown.out)
    assert green["video"] == "film.mp4"
    assert green["query"] == "green"
    assert green["backend"] == "onnxruntime:cpu"
    assert green["duration"] == pytest.approx(12, abs=0.2)
    assert set(green["timings"]) == {"decode", "encode", "localize"}
    (moment,) = green["moments"]
    assert (moment["start"], moment["end"]) == pytest.approx((4, 7), abs=0.2)
    assert (blue["moments"][0]["start"]) == pytest.approx(7, abs=0.2)
    assert shown.err == ""


def test_one_failing_video_is_a_record_and_the_rest_go_on(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("words.mp4").write_text("not a video")
    assert run("gone.mp4", "words.mp4", film, "-q", "red", "-b", bundle) == 1
    shown = capsys.readouterr()
    gone, words, found = lines(shown.out)
    assert gone["error"]["kind"] == words["error"]["kind"] == "video"
    assert found["moments"]
    assert "gone.mp4" in shown.err
    assert "words.mp4" in shown.err
    assert "Traceback" not in shown.err


def test_a_bad_sentence_in_a_list_costs_its_own_job_only(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("jobs.csv").write_text(f"video,query\n{film},red\n{film},\n{film},blue\n")
    assert run("jobs.csv", "-b", bundle) == 1
    red, empty, blue = lines(capsys.readouterr().out)
    assert red["moments"]
    assert blue["moments"]
    assert empty["error"]["kind"] == "query"


@pytest.mark.parametrize(
    "refused",
    [
        (["film.mp4"], 2, "no sentence"),
        (["film.mp4", "-q", "red", "--backend", "openvino"], 6, "onnxruntime or tensorrt"),
        (["film.mp4", "-q", "red", "--device", "tpu"], 6, "cpu, cuda or cuda:N"),
        (["film.mp4", "-q", "red", "--precision", "int3"], 5, "fp16, fp32"),
        (["film.mp4", "-q", "red", "--decoding", "guess"], 2, "joint"),
        (["film.mp4", "-q", "red", "--bundle", "nowhere"], 5, "nowhere"),
        (["film.mp4", "-q", " "], 4, "empty"),
        (["gone.mp4", "-q", "red"], 3, "gone.mp4"),
        (["gone.csv"], 9, "gone.csv"),
        (["film.mp4", "-q", "red", "--out", "."], 8, "."),
        (["film.mp4", "-q", "red", "--overwrite"], 2, "--out"),
        (["film.mp4", "-q", "red", "--report", "."], 8, "report"),
    ],
)
def test_every_error_is_one_line_and_a_code(
    film: str,
    bundle: str,
    capfd: pytest.CaptureFixture[str],
    refused: tuple[list[str], int, str],
) -> None:
    arguments, code, message = refused
    named = [] if "--bundle" in arguments else ["--bundle", bundle]
    assert run(*arguments, *named) == code
    shown = capfd.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["--frobnicate"], ["film.mp4", "-q", "red", "-k", "0"], [], ["film.mp4", "-k"]]
)
def test_words_that_are_no_option_are_refused(arguments: list[str]) -> None:
    assert run(*arguments) == 2


def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    film: str, bundle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtloc_runtime.localize.localizer import Localizer

    monkeypatch.setattr(Localizer, "open", lambda *_, **__: pytest.fail("the work began"))
    assert run(film, "-q", "red", "-b", bundle, "--out", f"{film}/results.jsonl") == 8


def test_results_go_to_a_file_and_nothing_to_the_pipe(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "-q", "red", "-b", bundle, "-o", "deep/results.jsonl") == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "1 video, 1 sentence: 1 found, written to deep/results.jsonl" in shown.err
    assert "hours of video an hour" in shown.err
    assert len(lines(Path("deep/results.jsonl").read_text())) == 1


def test_the_same_command_again_does_only_what_is_left(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(film, "-q", "red", "-b", bundle, "-o", "results.jsonl")
    before = Path("results.jsonl").read_bytes()
    run(film, "-q", "red", "-q", "blue", "-b", bundle, "-o", "results.jsonl")
    assert "1 of 2 sentences are answered already" in capsys.readouterr().err
    after = Path("results.jsonl").read_bytes()
    assert after.startswith(before)
    assert [entry["query"] for entry in lines(after.decode())] == ["red", "blue"]
    from vtloc_runtime.localize.localizer import Localizer

    monkeypatch.setattr(Localizer, "open", lambda *_, **__: pytest.fail("there was no work"))
    assert run(film, "-q", "red", "-q", "blue", "-b", bundle, "-o", "results.jsonl") == 0
    assert Path("results.jsonl").read_bytes() == after


def test_a_file_of_another_run_is_not_continued(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(film, "-q", "red", "-b", bundle, "-o", "results.jsonl")
    assert run(film, "-q", "red", "-b", bundle, "-o", "results.jsonl", "-k", "3") == 8
    assert "another run" in capsys.readouterr().err
    assert (
        run(film, "-q", "red", "-b", bundle, "-o", "results.jsonl", "-k", "3", "--overwrite") == 0
    )
    assert len(lines(Path("results.jsonl").read_text())) == 1


def test_failed_jobs_are_done_again_on_request(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vtloc_runtime.errors import VideoError
    from vtloc_runtime.localize.localizer import Localizer

    def fail(*_: object, **__: object) -> None:
        raise VideoError("it was not to be")

    arguments = [film, "-q", "red", "-b", bundle, "-o", "results.jsonl", "--no-cache"]
    with monkeypatch.context() as patch:
        patch.setattr(Localizer, "encode_video", fail)
        assert run(*arguments) == 3
    assert run(*arguments) == 3
    assert run(*arguments, "--retry-failed") == 0
    assert len(lines(Path("results.jsonl").read_text())) == 1


def test_a_file_that_changed_or_came_is_done_again(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = [film, "late.mp4", "-q", "red", "-b", bundle, "-o", "results.jsonl"]
    assert run(*arguments) == 1
    shutil.copy(film, "late.mp4")
    assert run(*arguments) == 0
    write_colour_video(tmp_path / "film.mp4", [("blue", 3), ("red", 5)])
    assert run(*arguments) == 0
    entries = {entry["video"]: entry for entry in lines(Path("results.jsonl").read_text())}
    assert len(entries) == 2
    assert entries["film.mp4"]["moments"][0]["start"] == pytest.approx(3, abs=0.2)
    before = Path("results.jsonl").read_bytes()
    Path(film).unlink()
    assert run(*arguments) == 0
    assert Path("results.jsonl").read_bytes() == before


@pytest.mark.parametrize("row", ["film.mp4,blue,7", "other.mp4,red,7"])
def test_an_id_never_takes_the_answer_of_another_job(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    Path("jobs.csv").write_text("video,query,id\nfilm.mp4,red,7\n")
    assert run("jobs.csv", "-b", bundle, "-o", "results.jsonl") == 0
    before = Path("results.jsonl").read_bytes()
    Path("jobs.csv").write_text(f"video,query,id\n{row}\n")
    assert run("jobs.csv", "-b", bundle, "-o", "results.jsonl") == 9
    complaint = capsys.readouterr().err
    for word in ("'7'", "'red'", "film.mp4", row.split(",", maxsplit=1)[0], row.split(",")[1]):
        assert word in complaint
    assert Path("results.jsonl").read_bytes() == before


def test_a_damaged_results_file_is_repaired_on_request(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [film, "-q", "red", "-q", "blue", "-b", bundle, "-o", "results.jsonl"]
    run(*arguments)
    whole = Path("results.jsonl").read_text()
    Path("results.jsonl").write_text(whole.replace('"start":', '"start":9', 1))
    assert run(*arguments) == 8
    assert "results.jsonl:1" in capsys.readouterr().err
    assert run(*arguments, "--repair") == 0
    assert "1 damaged line was removed" in capsys.readouterr().err

    def answers(text: str) -> list[tuple[str, Any]]:
        return sorted((entry["id"], entry["moments"]) for entry in lines(text))

    assert answers(Path("results.jsonl").read_text()) == answers(whole)
    assert Path("results.jsonl.damaged-1").exists()


@pytest.mark.parametrize(
    "outputs",
    [
        ["--out", "film.mp4", "--overwrite"],
        ["--out", "./x/../film.mp4"],
        ["--out", "hard.mp4", "--overwrite"],
        ["--report", "film.mp4"],
        ["--report", "soft.mp4"],
        ["--out", "jobs.jsonl", "--overwrite"],
        ["--report", "jobs.jsonl"],
        ["--report", "notes.txt"],
        ["--out", "notes.txt", "--overwrite"],
        ["--report", "page.html"],
        ["--out", "bundle/bundle.json", "--overwrite"],
        ["--report", "bundle/new.html"],
        ["--out", "same", "--report", "x/../same"],
    ],
)
def test_an_output_never_replaces_what_vtloc_did_not_write(
    film: str,
    bundle: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    outputs: list[str],
) -> None:
    from vtloc_runtime.localize.localizer import Localizer

    monkeypatch.setattr(Localizer, "open", lambda *_, **__: pytest.fail("the work began"))
    shutil.copytree(bundle, "bundle")
    Path("x").mkdir()
    Path("soft.mp4").symlink_to(film)
    os.link(film, "hard.mp4")
    Path("notes.txt").write_text("mine")
    Path("page.html").write_text("<!doctype html><title>mine</title>")
    Path("jobs.jsonl").write_text(f'{{"video": "{film}", "query": "red"}}\n')

    def contents() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}

    before = contents()
    assert run(film, "jobs.jsonl", "-q", "red", "-b", "bundle", *outputs) == 8
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert contents() == before


def test_results_that_serve_as_the_list_are_not_the_output(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(film, "-q", "red", "-b", bundle, "-o", "results.jsonl")
    before = Path("results.jsonl").read_bytes()
    assert run("results.jsonl", "-b", bundle, "-o", "results.jsonl", "--overwrite") == 8
    assert Path("results.jsonl").read_bytes() == before


def test_a_page_replaces_a_page(film: str, bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    for query in ("red", "blue"):
        assert run(film, "-q", query, "-b", bundle, "--report", "page.html") == 0
    assert "blue" in Path("page.html").read_text()


def test_a_bundle_may_be_named_by_its_manifest(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(film, "-q", "red", "-b", f"{bundle}/bundle.json") == 0


@pytest.mark.parametrize("kind", ["BackendError", "NetworkError"])
def test_a_lost_backend_ends_the_run_and_fails_no_video(
    bundle: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    from vtloc_runtime import errors
    from vtloc_runtime.localize.localizer import Localizer

    films = many_films(tmp_path, 8)
    encode, calls = Localizer.encode_video, []

    def lost(self: Localizer, *arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) > 3:
            raise getattr(errors, kind)("the device is gone")
        return encode(self, *arguments, **options)

    arguments = [*films, "-q", "red", "-b", bundle, "-o", "results.jsonl", "--no-cache"]
    with monkeypatch.context() as patch:
        patch.setattr(Localizer, "encode_video", lost)
        assert run(*arguments, "--workers", "1") == getattr(errors, kind).exit_code
    assert "3 videos in a row failed" in capsys.readouterr().err
    entries = lines(Path("results.jsonl").read_text())
    assert len(entries) == 3
    assert all(entry["moments"] for entry in entries)
    assert run(*arguments) == 0


def test_a_home_that_cannot_be_written_costs_the_cache_only(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VTLOC_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    assert run(film, "-q", "red", "-b", bundle) == 0
    (warning,) = capsys.readouterr().err.splitlines()
    assert "no feature cache" in warning
    assert run("encode", film, "-b", bundle) == 8
    monkeypatch.setenv("VTLOC_CACHE", "/dev/null/cache")
    assert run(film, "-q", "red", "-b", bundle) == 8


def test_names_of_any_kind_are_records_and_do_no_harm(
    film: str, bundle: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    odd = [b"bad\xff.mp4", b"\x1b]0;owned\x07\xe2\x80\xae.mp4"]
    names = [os.fsdecode(name) for name in odd]
    for name in names:
        shutil.copy(film, name)
    gone = [f"{'x' * 300}.mp4", "https://h/film.mp4?token=1"]
    code = run(*names, *gone, film, "-q", "red", "-b", bundle, "--report", "page.html")
    assert code == 1
    shown = capfdbinary.readouterr()
    entries = lines(shown.out.decode())
    assert [bool(entry.get("moments")) for entry in entries] == [True, True, False, False, True]
    assert entries[0]["video"] == r"bad\xff.mp4"
    for text in (shown.out, shown.err, Path("page.html").read_bytes()):
        assert not {b"\x1b", b"\x07"} & {bytes([value]) for value in text}
        assert "\u202e".encode() not in text
    assert len(shown.err.splitlines()) == 3


def test_a_report_shows_what_was_found(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(film, "gone.mp4", "-q", "a green <b>", "-b", bundle, "--report", "out/report.html")
    assert code == 1
    page = Path("out/report.html").read_text()
    assert r"a green \u003cb\u003e" in page
    assert "film.mp4" in page
    assert "gone.mp4" in page


def test_a_fault_of_the_program_is_one_line_too(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("oh\nno")

    monkeypatch.setattr(find_run, "read_jobs", broken)
    assert run(film, "-q", "red", "-b", bundle) == exit_codes.INTERNAL_ERROR
    assert "internal error: RuntimeError: oh no" in capsys.readouterr().err


def test_a_second_run_over_the_same_videos_does_not_decode(
    film: str, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(film, "-q", "red", "-b", bundle)
    run(film, "-q", "green", "-b", bundle)
    run(film, "-q", "green", "-b", bundle, "--no-cache")
    first, second, third = lines(capsys.readouterr().out)
    assert "decode" in first["timings"]
    assert "decode" not in second["timings"]
    assert "decode" in third["timings"]
    assert second["moments"] == third["moments"]
    assert second["duration"] == third["duration"]


def test_help_names_every_command_and_every_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run("--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for command in COMMANDS:
        assert f"vtloc-run {command}" in shown
        assert run(command, "--help") == 0
    said = {
        "query": "sentence",
        "job": "job list",
        "feature": "features",
        "error": "some sentences",
    }
    said |= {"missing-extra": "missing package", "device-lost": "backend"}
    _, _, listed = shown.partition("Exit codes:")
    # Other packages add errors of their own once they are imported.
    own = {one.kind for one in vars(errors).values() if hasattr(one, "kind")}
    for kind, code in exit_codes.exit_codes().items():
        assert f" {code} {said.get(kind, kind)}" in listed or kind not in own, kind


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("vtloc-run ")


def on_terminal(*arguments: str) -> tuple[int, str]:
    """Run with standard output and error on a terminal; gives the exit code and the screen."""
    control, terminal = pty.openpty()
    environment = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    process = subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    screen = b""
    while True:
        try:
            part = os.read(control, 65536)
        except OSError:
            break
        if not part:
            break
        screen += part
    os.close(control)
    return process.wait(), screen.decode()


def test_people_get_a_table_and_a_bar(film: str, bundle: str) -> None:
    code, screen = on_terminal(film, "gone.mp4", "-q", "green", "-b", bundle)
    assert code == 1
    assert "sentence" in screen
    assert "0:04." in screen
    # How far the bar is when it is first drawn is chance.
    assert "0/2" in screen or "1/2" in screen
    assert "2 videos, 2 sentences: 1 found, 1 failed" in screen
    assert '{"id"' not in screen
    assert "Traceback" not in screen


def test_people_see_the_table_of_a_finished_run_again(film: str, bundle: str) -> None:
    arguments = [film, "-q", "green", "-b", bundle, "--out", "results.jsonl"]
    screens = [on_terminal(*arguments)[1] for _ in range(2)]
    for screen in screens:
        assert "0:04." in screen
        assert "1 video, 1 sentence: 1 found, written to results.jsonl" in screen
    # Nothing was read the second time, so there is no bar.
    assert "0/1" not in screens[1]
    assert "left" not in screens[1]


def test_a_format_on_standard_output_is_all_that_a_terminal_shows(film: str, bundle: str) -> None:
    code, screen = on_terminal(film, "-q", "green", "-b", bundle, "--format", "csv", "--quiet")
    assert code == 0
    assert screen.splitlines()[0].startswith("id,video,query")
    assert "sentence" not in screen


def test_people_may_ask_for_json(film: str, bundle: str) -> None:
    code, screen = on_terminal(film, "-q", "green", "-b", bundle, "--json", "--quiet")
    assert code == 0
    assert len(lines(screen)) == 1


def test_a_reader_that_leaves_ends_the_run_quietly(film: str, bundle: str) -> None:
    process = subprocess.Popen(
        [*PROGRAM, film, "-q", "green", "-b", bundle],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    complaint = process.stderr.read()
    assert process.wait() == exit_codes.PIPE_CLOSED
    assert complaint == b""


@pytest.mark.parametrize(
    ("redirection", "out", "code"),
    [
        ("2>&-", False, 1),
        ("2>/dev/full >&-", True, 1),
        (">&- 2>&-", False, 8),
        (">/dev/full", False, 8),
    ],
)
def test_streams_that_take_nothing_are_no_fault_of_the_program(
    film: str, bundle: str, redirection: str, out: bool, code: int
) -> None:
    words = [*PROGRAM, film, "gone.mp4", "-q", "red", "-b", bundle, *(["-o", "o.jsonl"] * out)]
    ended = subprocess.run(
        f"{shlex.join(words)} {redirection}", shell=True, capture_output=True, check=False
    )
    assert ended.returncode == code
    assert b"Traceback" not in ended.stderr
    assert b"fault" not in ended.stderr
    if out:
        assert len(lines(Path("o.jsonl").read_text())) == 2


def many_films(folder: Path, count: int) -> list[str]:
    first = write_colour_video(folder / "film0.mp4", [("red", 20), ("blue", 20)])
    names = [str(first)]
    for index in range(1, count):
        names.append(str(folder / f"film{index}.mp4"))
        shutil.copy(first, names[-1])
    return names


def start(films: list[str], bundle: str, out: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*PROGRAM, *films, "-q", "red", "-q", "blue", "-b", bundle, "-o", out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def wait_for_lines(out: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if out.exists() and out.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    pytest.fail("no results appeared")


def test_the_first_interrupt_finishes_what_is_in_flight(bundle: str, tmp_path: Path) -> None:
    films = many_films(tmp_path, 200)
    process = start(films, bundle, "results.jsonl")
    wait_for_lines(tmp_path / "results.jsonl", 2)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate()
    assert process.returncode == exit_codes.INTERRUPTED
    assert b"the same command again" in complaint
    entries = lines((tmp_path / "results.jsonl").read_text())
    assert 0 < len(entries) < 400
    assert len(entries) % 2 == 0


def test_signals_to_the_whole_group_fail_no_video(bundle: str, tmp_path: Path) -> None:
    films = many_films(tmp_path, 12)
    arguments = [*films, "-q", "red", "-b", bundle, "-o", "results.jsonl", "--no-cache"]
    for number, answered in ((signal.SIGTERM, 2), (signal.SIGHUP, 5), (None, 0)):
        process = subprocess.Popen(
            [*PROGRAM, *arguments], stderr=subprocess.PIPE, start_new_session=True
        )
        if number is not None:
            wait_for_lines(tmp_path / "results.jsonl", answered)
            os.killpg(process.pid, number)
        process.communicate()
        # A signal may come before anything listens to it.
        assert process.returncode in ({0} if number is None else {128 + number, -number})
    entries = lines((tmp_path / "results.jsonl").read_text())
    assert len({entry["id"] for entry in entries}) == len(entries) == 12
    assert all(entry["moments"] for entry in entries)


def test_a_run_killed_again_and_again_ends_as_an_undisturbed_one(
    bundle: str, tmp_path: Path, own_cache: Path
) -> None:
    films = many_films(tmp_path, 10)
    undisturbed = start(films, bundle, "whole.jsonl")
    undisturbed.communicate()
    assert undisturbed.returncode == 0
    for kills in range(1, 3):
        shutil.rmtree(own_cache)
        process = start(films, bundle, "killed.jsonl")
        wait_for_lines(tmp_path / "killed.jsonl", 6 * kills)
        process.kill()
        process.communicate()
    last = start(films, bundle, "killed.jsonl")
    last.communicate()
    assert last.returncode == 0

    def answers(name: str) -> list[tuple[str, str, str]]:
        entries = lines((tmp_path / name).read_text())
        return sorted((e["id"], e["video"], json.dumps(e["moments"])) for e in entries)

    assert answers("killed.jsonl") == answers("whole.jsonl")


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_asking_for_help_loads_nothing_that_computes(command: list[str]) -> None:
    program = (
        "import sys\n"
        "from vtloc_runtime.cli.main import main\n"
        "try:\n"
        "    main([*sys.argv[1:], '--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'onnxruntime', 'av', 'tokenizers', 'torch', 'numpy', 'matplotlib'}\n"
        "    print(sorted(heavy & sys.modules.keys()), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, check=True
    )
    assert ended.stderr.strip() == "[]"


def test_a_cached_film_is_answered_without_loading_what_decodes_or_draws(
    film: str, bundle: str
) -> None:
    program = (
        "import sys\n"
        "from vtloc_runtime.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    unneeded = {'av', 'matplotlib', 'numpy.ma', 'vtloc_runtime.report.model',\n"
        "                'vtloc_runtime.video.isolation.decoder_process'}\n"
        "    print(sorted(unneeded & sys.modules.keys()), file=sys.stderr)\n"
    )
    asked = [sys.executable, "-c", program, film, "-q", "green", "-b", bundle]
    first, again = (
        subprocess.run(asked, capture_output=True, text=True, check=True) for _ in range(2)
    )
    assert "decoder_process" in first.stderr
    assert again.stderr.strip() == "[]"
    assert lines(again.stdout)[0]["moments"] == lines(first.stdout)[0]["moments"]


def test_a_frame_network_that_cannot_be_opened_ends_the_run_once_a_frame_is_encoded(
    film: str, own_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def lie(manifest: dict[str, Any]) -> None:
        manifest["networks"]["visual"]["variants"]["fp32"]["outputs"][0]["shape"] = ["batch", 4]

    asked = ["-q", "green", "-b", str(own_bundle)]
    assert run(film, *asked) == 0
    (answer,) = lines(capsys.readouterr().out)
    edit_manifest(own_bundle, lie)
    assert run(film, *asked) == 0
    (again,) = lines(capsys.readouterr().out)
    assert again["moments"] == answer["moments"]
    for command in (["other.mp4", film, *asked, "-o", "found.jsonl"], ["encode", "other.mp4"]):
        write_colour_video(Path("other.mp4"), [("blue", 3), ("green", 3)])
        options = ["-b", str(own_bundle)] if command[0] == "encode" else []
        assert run(*command, *options) == errors.BundleError.exit_code
        shown = capsys.readouterr()
        assert shown.err.count("\n") == 1
        assert "the manifest says float32" in shown.err
    assert all("error" not in record for record in lines(Path("found.jsonl").read_text()))
