"""A bundle appears whole, or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os

import pytest

from tests.support import small_bundle, tensorrt_double
from tests.support.colours import write_colour_bundle
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_export.staging import check_place, staged_bundle
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.errors import OutputError


def old_bundle(folder):
    folder.mkdir()
    manifest = {"schema": 1, "networks": {"visual": {"file": "old.onnx"}}}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    (folder / "old.onnx").write_text("old")
    return folder


def test_a_block_that_ends_well_leaves_the_bundle(tmp_path):
    out = tmp_path / "deep" / "bundle"
    with staged_bundle(out, overwrite=False) as folder:
        (folder / "file").write_text("new")
        assert not out.exists()
    assert (out / "file").read_text() == "new"
    assert [path.name for path in out.parent.iterdir()] == ["bundle"]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    def failing():
        with staged_bundle(tmp_path / "bundle", overwrite=False) as folder:
            (folder / "file").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        failing()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_made_on_the_way_go_too(tmp_path):
    def failing():
        with staged_bundle(tmp_path / "a" / "b" / "bundle", overwrite=False):
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        failing()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_an_output_error(tmp_path):
    with (
        pytest.raises(OutputError, match="cannot write the bundle: No space left on device"),
        staged_bundle(tmp_path / "bundle", overwrite=False),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_replaced_only_when_asked(tmp_path):
    out = old_bundle(tmp_path / "bundle")
    with pytest.raises(OutputError, match="--overwrite"):
        check_place(out, overwrite=False)
    with staged_bundle(out, overwrite=True) as folder:
        (folder / "file").write_text("new")
    assert [path.name for path in out.iterdir()] == ["file"]
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failure_keeps_the_bundle_that_was_there(tmp_path):
    out = old_bundle(tmp_path / "bundle")

    def failing():
        with staged_bundle(out, overwrite=True):
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        failing()
    assert (out / "old.onnx").read_text() == "old"


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_bundle_is_left_alone(tmp_path, overwrite):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    (tmp_path / "file").write_text("file")
    for name in ("photos", "file"):
        with pytest.raises(OutputError, match="is not a bundle"):
            check_place(tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "cat"


def test_an_empty_folder_will_do(tmp_path):
    out = tmp_path / "empty"
    out.mkdir()
    with staged_bundle(out, overwrite=False) as folder:
        (folder / "file").write_text("new")
    assert (out / "file").is_file()


@pytest.mark.parametrize("place", ["file/bundle", "n" * 300, "n" * 250, "loop", "loop/bundle"])
def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "loop").symlink_to("loop")
    with (
        pytest.raises(OutputError, match="cannot write there"),
        staged_bundle(tmp_path / place, overwrite=False),
    ):
        pass
    assert {one.name for one in tmp_path.iterdir()} == {"file", "loop"}


def test_engines_of_networks_that_did_not_change_are_kept(tmp_path):
    bundle = small_bundle.write_small_bundle(tmp_path / "bundle")
    with tensorrt_double.installed():
        reports = build_engines(bundle, EngineOptions("sm80", networks=("visual", "text")))
    (bundle.engines / "rubbish.json").write_text("{")
    with staged_bundle(bundle.path, overwrite=True) as folder:
        small_bundle.write_small_bundle(folder)
        changed = small_bundle.visual(half=True, scale=254).SerializeToString()
        (folder / "visual.fp16.onnx").write_bytes(changed)
        manifest = json.loads((folder / MANIFEST_NAME).read_text())
        variant = manifest["networks"]["visual"]["variants"]["fp16"]
        variant["sha256"] = hashlib.sha256(changed).hexdigest()
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    text = reports[1].engine
    assert {path.name for path in bundle.engines.iterdir()} == {
        text.sidecar_path.name, text.plan_path.name, text.plan_path.with_suffix(".log").name,
    }  # fmt: skip
    assert text.read_plan()
    with tensorrt_double.installed():
        options = EngineOptions("sm80", networks=("visual", "text"))
        reports = build_engines(Bundle.open(bundle.path), options)
    assert [report.built for report in reports] == [True, False]


def test_files_of_others_are_never_replaced(tmp_path):
    for name, content in (("bundle.json", "{}"), ("bundle.json", '{"schema": 1}'), ("a", "b")):
        place = tmp_path / f"{name}{len(content)}"
        place.mkdir()
        (place / name).write_text(content)
        with pytest.raises(OutputError, match="not a bundle"):
            check_place(place, overwrite=True)
    place = write_colour_bundle(tmp_path / "bundle")
    (place / "engines").mkdir()
    (place / "engines" / "visual.plan").write_bytes(b"plan")
    check_place(place, overwrite=True)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt, which vtloc did not write"):
        check_place(place, overwrite=True)
