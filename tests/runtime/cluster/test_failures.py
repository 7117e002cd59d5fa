"""``vtloc-run --ray`` on a cluster whose nodes, workers and drivers are killed: same records."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.colours import write_colour_video
from tests.support.ray_nodes import RayNodes
from vtloc_runtime.cli.console.exit_codes import INTERRUPTED

pytest.importorskip("ray.data", reason="needs the ray extra")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

PROGRAM = Path(__file__).parents[2] / "support" / "patient_run.py"
FILMS = 8
QUERIES = 2
PATIENCE = 240


@dataclass(frozen=True)
class Hold:
    """A folder in which the workers of a node note their films and wait, as ``patient_run`` says.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For the node."""
        return {"VTLOC_TEST_HOLD": str(self.folder)}

    def from_film(self, number: int) -> None:
        """Forget what was; from now on each worker waits in the film of this number."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        (self.folder / "from").write_text(str(number))

    def release(self) -> None:
        """Let everyone go on, without end."""
        (self.folder / "go").touch()

    def held(self) -> list[str]:
        """Films in which workers waited."""
        return sorted(note.name.split()[1] for note in self.folder.glob("* held"))

    def begun(self) -> list[str]:
        """Films that were begun, each as often as it was."""
        return sorted(note.name.split()[1] for note in self.folder.glob("* begun"))


class Run:
    """``vtloc-run`` in a process group of its own, as a terminal starts it."""

    def __init__(self, films: Path, bundle: Path, *arguments: str, **environment: str) -> None:
        if arguments[0] != "encode":
            arguments = (".", "-q", "red", "-q", "the screen turns blue", *arguments)
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM), *arguments, "-b", str(bundle)],
            cwd=films,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def end(self) -> tuple[int, bytes, str]:
        """Exit code, standard output without timings, standard error."""
        try:
            output, complaint = self.process.communicate(timeout=PATIENCE)
        finally:
            self.process.kill()
        return self.process.returncode, without_timings(output), complaint.decode()

    def wait_for(self, hold: Hold, films: int) -> None:
        """Until workers wait in so many films."""
        deadline = time.monotonic() + PATIENCE
        while len(hold.held()) < films:
            assert time.monotonic() < deadline, "no film was begun"
            assert self.process.poll() is None, self.end()
            time.sleep(0.02)


def without_timings(lines: bytes) -> bytes:
    """Records as they were written, without what differs from run to run.

    That is how long each took, when a copied film was last modified, and the line's checksum.
    """
    return re.sub(rb',"(timings":\{[^}]*\}|modified":[0-9.]+|check":"[0-9a-f]+")', b"", lines)


def lines_of(out: Path) -> list[bytes]:
    return without_timings(out.read_bytes()).splitlines()


@dataclass(frozen=True)
class Scene:
    """What every test starts from.

    Attributes:
        nodes: A cluster with one lasting node of one processor; tests add more.
        hold: Where the lasting node notes and waits.
        films: A folder of films, and one file that is none.
        bundle: The bundle of colours.
        undisturbed: What a run without Ray writes, in the order of the films.
    """

    nodes: RayNodes
    hold: Hold
    films: Path
    bundle: Path
    undisturbed: list[bytes]

    def run(self, *arguments: str) -> Run:
        """Begin a run on the cluster."""
        return Run(self.films, self.bundle, "--no-cache", "--ray", self.nodes.address, *arguments)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, colour_bundle: Path) -> Iterator[Scene]:
    """One cluster for all tests here, because starting one takes long."""
    base = tmp_path_factory.mktemp("cluster")
    films = base / "films"
    films.mkdir()
    for index in range(FILMS):
        scenes = [("red", 2 + index % 3), ("green", 3), ("blue", 2)]
        write_colour_video(films / f"{index}.mp4", scenes)
    (films / "words.mp4").write_text("not a film")
    out = base / "undisturbed.jsonl"
    code, _, _ = Run(films, colour_bundle, "-o", str(out), "--no-cache", "--in-order").end()
    undisturbed = lines_of(out)
    assert (code, len(undisturbed)) == (1, QUERIES * (FILMS + 1))
    hold = Hold(base / "lasting")
    nodes = RayNodes(VTLOC_CACHE=str(base / "cache"))
    try:
        nodes.add(1, **hold.environment)
        yield Scene(nodes, hold, films, colour_bundle, undisturbed)
    finally:
        nodes.close()


@pytest.fixture
def scene(whole: Scene) -> Scene:
    """The cluster, on which nobody waits."""
    whole.hold.from_film(1)
    whole.hold.release()
    return whole


def test_a_node_that_is_killed_in_mid_film_costs_nothing(scene: Scene, tmp_path: Path) -> None:
    out, there = tmp_path / "out.jsonl", Hold(tmp_path / "there")
    # The doomed node's worker answers one film and is killed in its second; the other node's
    # waits in its first until then, so that it leaves some.
    scene.hold.from_film(1)
    there.from_film(2)
    doomed = scene.nodes.add(1, **there.environment)
    run = scene.run("-o", str(out))
    run.wait_for(scene.hold, 1)
    run.wait_for(there, 1)
    scene.nodes.kill(doomed)
    scene.hold.release()
    code, _, complaint = run.end()
    assert code == 1, complaint
    assert sorted(lines_of(out)) == sorted(scene.undisturbed)
    lost, again = there.held(), scene.hold.begun()
    assert len(lost) == 1
    assert set(lost) <= set(again)


def test_a_driver_that_is_killed_or_interrupted_is_gone_on_with(
    scene: Scene, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    scene.hold.from_film(4)
    killed = scene.run("-o", str(out))
    killed.wait_for(scene.hold, 1)
    killed.process.kill()
    killed.end()
    before = lines_of(out)
    # Three films were answered, and all but the last of them surely written.
    assert len(before) in {2 * QUERIES, 3 * QUERIES}
    scene.hold.from_film(2)
    interrupted = scene.run("-o", str(out))
    interrupted.wait_for(scene.hold, 1)
    os.killpg(interrupted.process.pid, signal.SIGINT)
    time.sleep(1)
    scene.hold.release()
    code, _, complaint = interrupted.end()
    assert code == INTERRUPTED, complaint
    assert "the same command again" in complaint
    kept = lines_of(out)
    # What was in flight is written, and nothing after it.
    assert kept[: len(before)] == before
    assert len(kept) == len(before) + 2 * QUERIES
    assert scene.run("-o", str(out)).end()[0] == 1
    found = lines_of(out)
    assert found[: len(kept)] == kept
    assert sorted(found) == sorted(scene.undisturbed)


def test_failed_jobs_are_done_again_on_request_and_in_order(scene: Scene, tmp_path: Path) -> None:
    films = tmp_path / "films"
    shutil.copytree(scene.films, films)
    own = replace(scene, films=films)
    out = tmp_path / "out.jsonl"
    assert own.run("-o", str(out), "--in-order").end()[0] == 1
    assert lines_of(out) == scene.undisturbed
    shutil.copy(films / "0.mp4", films / "words.mp4")
    code, _, complaint = own.run("-o", str(out), "--in-order", "--retry-failed").end()
    assert code == 0, complaint
    found = lines_of(out)
    assert found[:-QUERIES] == scene.undisturbed[:-QUERIES]
    assert ["words.mp4" in line.decode() for line in found[-QUERIES:]] == [True] * QUERIES
    assert not any(json.loads(line).get("error") for line in found)


def test_a_video_that_ends_every_worker_is_given_up(scene: Scene, tmp_path: Path) -> None:
    films = tmp_path / "films"
    shutil.copytree(scene.films, films)
    (films / "0.mp4").rename(films / "fatal.mp4")
    code, output, complaint = replace(scene, films=films).run("--in-order").end()
    assert code == 1, complaint
    lines = output.splitlines()
    given_up, rest = lines[-2 * QUERIES : -QUERIES], lines[: -2 * QUERIES] + lines[-QUERIES:]
    assert rest == scene.undisturbed[QUERIES:]
    for record in map(json.loads, given_up):
        assert Path(record["video"]).name == "fatal.mp4"
        assert record["error"]["kind"] == "cluster"
        assert "its worker was lost 4 times" in record["error"]["what"]
    assert scene.hold.begun().count("fatal.mp4") == 4


def test_a_bundle_that_nodes_lack_is_sent(
    scene: Scene, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTLOC_TEST_BUNDLE", "lost")
    code, output, complaint = replace(scene, bundle=own_bundle).run("--in-order").end()
    assert code == 1, complaint
    assert not own_bundle.exists()
    assert output.splitlines() == scene.undisturbed


def test_another_bundle_than_the_driver_s_is_refused_before_any_work(
    scene: Scene, own_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTLOC_TEST_BUNDLE", "changed")
    code, output, complaint = replace(scene, bundle=own_bundle).run().end()
    assert code not in {0, 1}
    assert output == b""
    assert "this bundle differs from the driver's" in complaint
    assert not scene.hold.begun()


def test_a_node_with_other_software_is_refused_before_any_work(
    scene: Scene, tmp_path: Path
) -> None:
    other = tmp_path / "packages" / "av-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: av\nVersion: 1.0\n")
    node = scene.nodes.add(1, PYTHONPATH=str(other.parent))
    try:
        code, output, complaint = scene.run().end()
    finally:
        scene.nodes.kill(node)
    assert (code, output) == (19, b"")
    assert "the node runs av 1.0 where the driver has" in complaint
    assert not scene.hold.begun()


def test_a_cluster_without_room_for_one_worker_is_refused(scene: Scene) -> None:
    code, output, complaint = scene.run("--workers", "64").end()
    assert (code, output) == (19, b"")
    assert "no node has room for a worker of 64 processors" in complaint


def test_a_cluster_of_this_machine_alone_says_what_the_command_without_one_says(
    scene: Scene,
) -> None:
    arguments = ("--no-cache", "--in-order")
    without = Run(scene.films, scene.bundle, *arguments).end()
    # Standard error too: one line for the file that is not a film, and nothing of Ray's.
    assert Run(scene.films, scene.bundle, *arguments, "--ray", "local").end() == without


def test_videos_are_encoded_ahead_on_the_cluster(scene: Scene) -> None:
    run = Run(scene.films, scene.bundle, "encode", ".", "--ray", scene.nodes.address)
    code, output, complaint = run.end()
    assert code == 1, complaint
    outcomes = [json.loads(line) for line in output.splitlines()]
    assert len(outcomes) == FILMS + 1
    assert [outcome["video"] for outcome in outcomes if outcome.get("error")] == ["./words.mp4"]
