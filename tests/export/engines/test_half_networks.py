"""One command makes engines of a bundle without FP16 networks, and the runtime finds them."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.support import tensorrt_double
from vtloc_export.bundle_export import ExportReport
from vtloc_export.cli.trt import trt_command
from vtloc_export.engines.half_networks import networks_for_tensorrt
from vtloc_export.staging import staged_bundle
from vtloc_runtime.batch.results.fingerprint import run_fingerprint
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.manifest import MANIFEST_NAME
from vtloc_runtime.bundle.user_folder import bundle_for, is_installed, user_folder
from vtloc_runtime.errors import BundleError, EngineError, MissingExtraError
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.networks.load import Placement, preferred_precision

app = typer.Typer()
app.command()(trt_command)


@pytest.fixture
def quick_export(tiny_bundle, monkeypatch):
    """An export in no time: what the session exported, in the precisions asked for."""

    def export(source, out, options, progress=None) -> ExportReport:
        with staged_bundle(out, overwrite=options.overwrite) as folder:
            shutil.copytree(tiny_bundle.path, folder, dirs_exist_ok=True)
            keep(folder, *options.precisions)
        return ExportReport(Bundle.open(out), ())

    monkeypatch.setattr("vtloc_export.bundle_export.export_bundle", export)


def keep(folder, *precisions: str) -> None:
    """Leave a bundle in these precisions alone."""
    path = folder / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    for network in manifest["networks"].values():
        for name in network["variants"].keys() - set(precisions):
            (folder / network["variants"].pop(name)["file"]).unlink(missing_ok=True)
    path.write_text(json.dumps(manifest))


@pytest.fixture
def installed(tiny_bundle, tmp_path, monkeypatch):
    """A bundle of compact weights in an installed package, and a cache folder of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packages = tmp_path / "site-packages"
    shutil.copytree(tiny_bundle.path, packages / "bundle" / "default")
    keep(packages / "bundle" / "default", "compact")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(packages))
    bundle = Bundle.open(packages / "bundle" / "default")
    assert is_installed(bundle.path)
    return bundle


def test_one_command_makes_engines_that_the_runtime_finds(installed, tmp_path) -> None:
    before = {path: path.stat().st_mtime_ns for path in installed.path.rglob("*")}
    with tensorrt_double.installed():
        with pytest.raises(BundleError, match=r"comes in compact.*vtloc-export trt .*default"):
            Localizer.open(installed, backend="tensorrt")
        first = CliRunner().invoke(app, [str(installed.path)])
        assert first.exit_code == 0, first.output
        assert "fp16 networks made in" in first.stderr
        again = CliRunner().invoke(app, [str(installed.path)])
        assert again.output.count("found") == 3
        assert "networks made" not in again.stderr
        made = bundle_for(installed, "tensorrt")
        assert made.path == user_folder(installed.path)
        assert len(list(made.engines.glob("*.plan"))) == 3
        for name in ("visual", "text", "localizer"):
            assert preferred_precision(made, name, backend="tensorrt", device="cuda") == "fp16"
        video = EncodedVideo(
            np.random.default_rng(0).normal(size=(9, 32)).astype(np.float32), np.arange(9.0), 9.0
        )
        with Localizer.open(installed, backend="tensorrt") as localizer:
            assert localizer.localize(video, "a dog runs").best is not None
        placement = Placement.choose(made, backend="tensorrt", device=None, precision=None)
        assert run_fingerprint(made, placement, decoding=None, moments=1)
    assert {path: path.stat().st_mtime_ns for path in installed.path.rglob("*")} == before


def test_what_the_caller_changed_in_the_bundle_stays_changed(installed, quick_export) -> None:
    networks_for_tensorrt(installed, "fp16")
    changed = installed.always_answering()
    made = bundle_for(changed, "tensorrt").manifest
    assert made.score_calibration == changed.manifest.score_calibration
    assert (made.decoding, made.windows) == (changed.manifest.decoding, changed.manifest.windows)
    assert bundle_for(changed, "onnxruntime") is changed


def test_a_second_precision_keeps_the_first(installed, quick_export) -> None:
    half = networks_for_tensorrt(installed, "fp16")
    assert half.seconds > 0
    both = networks_for_tensorrt(installed, "fp32")
    assert set(both.bundle.manifest.networks["text"].variants) == {"fp32", "fp16"}
    sha256 = [one.bundle.variant("text", "fp16").sha256 for one in (half, both)]
    assert sha256[0] == sha256[1]
    assert networks_for_tensorrt(installed, "fp16").seconds == 0


def test_a_precision_that_tensorrt_does_not_build_is_refused(installed) -> None:
    with pytest.raises(BundleError, match=r"comes in compact, not int8.*Use --precision fp16"):
        networks_for_tensorrt(installed, "int8")


def test_without_pytorch_the_extra_is_named(installed, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "vtloc_export.bundle_export", None)
    with pytest.raises(MissingExtraError, match=r"\[default-bundle\]"):
        networks_for_tensorrt(installed, "fp16")


def test_engines_of_a_bundle_that_was_installed_lie_in_the_user_s_folder(
    installed, tiny_bundle, tmp_path
) -> None:
    packages = tmp_path / "site-packages" / "other"
    shutil.copytree(tiny_bundle.path, packages)
    with tensorrt_double.installed():
        found = CliRunner().invoke(app, [str(packages)])
        assert found.exit_code == 0, found.output
        assert not (packages / "engines").exists()
        with Localizer.open(packages, backend="tensorrt") as localizer:
            assert localizer.backend == "tensorrt:cuda:0"


def test_a_pinned_digest_holds_for_what_was_made_from_the_bundle(
    installed, quick_export, monkeypatch
) -> None:
    made = networks_for_tensorrt(installed, "fp16").bundle
    path = made.path / MANIFEST_NAME
    pinned = Bundle.open(installed.path, digest=installed.digest)
    for source in ("", f"sha256:{'0' * 64}"):
        name_source(path, source)
        with pytest.raises(BundleError, match="from another bundle than the one whose digest"):
            bundle_for(pinned, "tensorrt")
        # Without a digest, the folder's name is what tells bundles apart.
        assert not bundle_for(installed, "tensorrt").pinned
    name_source(path, installed.digest)
    found = bundle_for(pinned, "tensorrt")
    assert found.pinned
    assert found.path == made.path
    # Opening it again does not ask for the source's digest once more.
    monkeypatch.setenv("VTLOC_BUNDLE_DIGEST", installed.digest)
    with tensorrt_double.installed(), pytest.raises(EngineError, match="no fp16 engine"):
        Localizer.open(found, backend="tensorrt")


def test_networks_of_another_source_are_made_again(installed, quick_export) -> None:
    made = networks_for_tensorrt(installed, "fp16").bundle
    name_source(made.path / MANIFEST_NAME, f"sha256:{'0' * 64}")
    assert networks_for_tensorrt(installed, "fp16").seconds > 0


def name_source(path, digest: str) -> None:
    """Write into a manifest what its networks were made from."""
    manifest = json.loads(path.read_text())
    manifest["provenance"]["source_digest"] = digest
    path.write_text(json.dumps(manifest))
