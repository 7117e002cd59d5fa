"""The parts of scale-out that need no cluster: order, starts, versions, and the bundle."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.colours import edit_manifest
from vtloc_runtime.batch.answer import AnswerVideos
from vtloc_runtime.batch.job_lists.jobs import Job, VideoJobs
from vtloc_runtime.batch.workers.worker_pool import in_task_order
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cli.main import main
from vtloc_runtime.cluster.bundle_transfer import BundleTransfer
from vtloc_runtime.cluster.start_counter import StartCounter
from vtloc_runtime.cluster.versions import Software
from vtloc_runtime.errors import BundleError, ClusterError
from vtloc_runtime.localize.encoding.feature_cache import FeatureCache


@given(st.permutations(range(20)), st.sets(st.integers(0, 19)))
def test_answers_come_in_the_order_of_their_tasks(order: list[int], never: set[int]) -> None:
    found = [(number, f"answer {number}") for number in order if number not in never]
    wanted = [f"answer {number}" for number in range(20) if number not in never]
    assert list(in_task_order(found)) == wanted


def test_an_answer_is_given_as_soon_as_its_turn_has_come() -> None:
    found = iter([(1, "b"), (0, "a"), (2, "c")])
    answers = in_task_order(found)
    assert [next(answers), next(answers)] == ["a", "b"]
    assert next(found) == (2, "c")


def test_a_closed_counter_restarts_only_what_was_started() -> None:
    counter = StartCounter()
    assert [counter.start(3), counter.start(3), counter.start(5)] == [1, 2, 1]
    assert counter.close() == {3, 5}
    assert [counter.start(3), counter.start(4)] == [3, 0]


def test_a_node_with_other_software_is_refused_by_what_differs() -> None:
    here = Software.here()
    here.check(here, node="10.0.0.7")
    older = replace(here, versions={**here.versions, "av": "1.0"})
    with pytest.raises(ClusterError, match=r"av 1\.0 where the driver has") as caught:
        older.check(here, node="10.0.0.7")
    assert caught.value.where == "10.0.0.7"
    with pytest.raises(ClusterError, match="av missing where"):
        replace(here, versions={}).check(here, node="10.0.0.7")
    with pytest.raises(ClusterError, match="another source of vtloc under the same version"):
        replace(here, code="0" * 64).check(here, node="10.0.0.7")


def test_the_bundle_that_ships_is_the_node_s_own() -> None:
    transfer = BundleTransfer.prepare(Bundle.open(), lambda _: pytest.fail("it was sent"))
    assert transfer.open(pytest.fail, node="a node") == Bundle.open()


def test_a_bundle_is_found_at_its_path_with_the_driver_s_changes(own_bundle: Path) -> None:
    driver = Bundle.open(own_bundle)
    changed = replace(driver, manifest=driver.manifest.__class__(**_fields(driver, name="mine")))
    transfer = pickle.loads(pickle.dumps(BundleTransfer.prepare(changed, None)))
    found = transfer.open(pytest.fail, node="a node")
    assert found.path == own_bundle
    assert found.manifest.name == "mine"


def _fields(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    manifest = bundle.manifest
    return {**{name: getattr(manifest, name) for name in manifest.__struct_fields__}, **changes}


def test_another_bundle_in_its_place_is_refused(own_bundle: Path) -> None:
    transfer = BundleTransfer.prepare(Bundle.open(own_bundle), None)
    edit_manifest(own_bundle, lambda content: content.update(name="another"))
    with pytest.raises(BundleError, match="differs from the driver's"):
        transfer.open(pytest.fail, node="a node")


def test_a_bundle_that_the_node_lacks_is_sent_once(own_bundle: Path) -> None:
    sent: dict[str, bytes] = {}
    transfer = BundleTransfer.prepare(
        Bundle.open(own_bundle), lambda files: sent.update(files) or "ticket"
    )
    content = {file: (own_bundle / file).read_bytes() for file in sent}
    assert sent == content
    shutil.rmtree(own_bundle)
    with pytest.raises(BundleError, match="does not exist"):
        replace(transfer, content=None).open(pytest.fail, node="a node")
    fetched: list[str] = []

    def fetch(ticket: str) -> dict[str, bytes]:
        fetched.append(ticket)
        return sent

    first, again = transfer.open(fetch, node="a node"), transfer.open(fetch, node="a node")
    assert fetched == ["ticket"]
    assert first == again
    assert {file.name: file.read_bytes() for file in first.path.iterdir()} == content


def test_work_travels_with_names_that_are_no_text(tmp_path: Path) -> None:
    work = AnswerVideos(2, "run", FeatureCache(tmp_path / "cache", bound=7))
    again = pickle.loads(pickle.dumps(work))
    assert (again.moments, again.run) == (2, "run")
    assert (again.cache.folder, again.cache.bound) == (tmp_path / "cache", 7)
    task = VideoJobs("film\udcff.mp4", (Job("1", "film\udcff.mp4", "red"),))
    assert pickle.loads(pickle.dumps(task)) == task
    (record,) = work.give_up(task, ClusterError("its worker was lost 4 times"))
    assert pickle.loads(pickle.dumps(record)) == record
    assert record.error is not None
    assert record.error.kind == "cluster"


def test_the_default_cache_is_each_machine_s_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VTLOC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "driver"))
    packed = pickle.dumps(FeatureCache())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node"))
    assert pickle.loads(packed).folder == tmp_path / "node" / "vtloc" / "features"


@pytest.mark.parametrize(
    "refusal",
    [
        ("127.0.0.1:1", 19, "no Ray cluster answers"),
        ("nonsense", 2, "HOST:PORT"),
        ("host:many", 2, "HOST:PORT"),
        ("ray://127.0.0.1:10001", 2, "on a node of the cluster"),
    ],
)
def test_an_address_that_is_none_or_does_not_answer(
    refusal: tuple[str, int, str],
    colour_video: Path,
    colour_bundle: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("ray.data", reason="needs the ray extra")
    address, code, message = refusal
    shown = refused(colour_video, colour_bundle, "--ray", address, code=code, capfd=capfd)
    assert message in shown


def test_without_ray_the_extra_is_named(
    colour_video: Path,
    colour_bundle: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    shown = refused(colour_video, colour_bundle, "--ray", "local", code=17, capfd=capfd)
    assert "[ray]" in shown


def test_ray_chooses_the_gpu(
    colour_video: Path, colour_bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--ray", "local", "--device", "cuda:1")
    shown = refused(colour_video, colour_bundle, *arguments, code=2, capfd=capfd)
    assert "Ray chooses the GPUs" in shown


def refused(
    video: Path, bundle: Path, *arguments: str, code: int, capfd: pytest.CaptureFixture[str]
) -> str:
    """Run a command that must end with a code and one line, which it gives."""
    with pytest.raises(SystemExit) as left:
        main([str(video), "-q", "red", "-b", str(bundle), *arguments])
    shown = capfd.readouterr()
    assert left.value.code == code, shown.err
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert json.dumps("Traceback") not in shown.err
    return shown.err
