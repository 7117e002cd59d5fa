"""How many processors a container leaves to this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtloc_runtime.system import processors
from vtloc_runtime.system.processors import available_processors


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty tree of control groups, on a machine of eight processors."""
    monkeypatch.setattr(processors, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(processors, "_OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "own").write_text("")
    return tmp_path / "cgroup"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_without_groups_it_is_the_affinity(groups: Path) -> None:
    assert available_processors() == 8


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000\n", 8),
        ("150000 100000\n", 1),
        ("50000 100000\n", 1),
        ("300000 100000\n", 3),
        ("9900000 100000\n", 8),
        ("nonsense\n", 8),
        ("100000 0\n", 8),
    ],
)
def test_a_quota_of_version_2(groups: Path, content: str, expected: int) -> None:
    write(groups, cpu__max=content)
    assert available_processors() == expected


@pytest.mark.parametrize("controller", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("50000", 1), ("300000", 3)])
def test_a_quota_of_version_1(groups: Path, controller: str, quota: str, expected: int) -> None:
    write(groups / controller, cpu__cfs_quota_us=f"{quota}\n", cpu__cfs_period_us="100000\n")
    assert available_processors() == expected


@pytest.mark.parametrize(
    ("own", "folder"),
    [("0::/service/worker\n", ""), ("4:cpu,cpuacct:/service/worker\n", "cpu,cpuacct")],
)
def test_the_tightest_group_above_the_process_counts(groups: Path, own: str, folder: str) -> None:
    (groups.parent / "own").write_text(f"9:pids:/elsewhere\n{own}")

    def limit(group: str, quota: int) -> None:
        if folder:
            files = {"cpu__cfs_quota_us": str(quota), "cpu__cfs_period_us": "100000"}
        else:
            files = {"cpu__max": f"{quota} 100000"}
        write(groups / folder / group, **files)

    limit("service/worker", 600000)
    assert available_processors() == 6
    limit("service", 200000)
    assert available_processors() == 2
    limit("elsewhere", 100000)
    assert available_processors() == 2
