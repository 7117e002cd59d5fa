"""Transformers of public encoders in INT8 on a CPU: both forms, outliers, and the runtime."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

open_clip = pytest.importorskip("open_clip")

from onnx import ModelProto, numpy_helper  # noqa: E402 - after the skip

from tests.support import tiny_towers  # noqa: E402
from tests.support.command_line import invoke  # noqa: E402
from vtloc_calibration.bundle_edit import store_variant  # noqa: E402
from vtloc_calibration.cli.main import app  # noqa: E402
from vtloc_calibration.quantize.fastest_form import fastest_form, int8_forms  # noqa: E402
from vtloc_calibration.quantize.island_search import ParityBounds  # noqa: E402
from vtloc_calibration.quantize.onnx_graph import base_graph  # noqa: E402
from vtloc_calibration.quantize.sensitivity import dynamic_trial, study  # noqa: E402
from vtloc_calibration.quantize.trials import NetworkTrial  # noqa: E402
from vtloc_calibration.samples.samples import Samples  # noqa: E402
from vtloc_export.bundle_export import export_bundle  # noqa: E402
from vtloc_export.options import ExportOptions  # noqa: E402
from vtloc_export.parity.measures import Bound  # noqa: E402
from vtloc_export.sources import EncoderPair  # noqa: E402
from vtloc_runtime.bundle.bundle import Bundle  # noqa: E402
from vtloc_runtime.errors import UsageError  # noqa: E402
from vtloc_runtime.networks.load import open_network  # noqa: E402

SIZE = tiny_towers.VIT["image_size"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny CLIP in FP32; not to be changed."""
    register: Any = tiny_towers.register
    names = register(tmp_path_factory.mktemp("towers"))
    options = ExportOptions(precisions=("fp32",), lint=False)
    out = tmp_path_factory.mktemp("bundles") / "vit"
    return export_bundle(EncoderPair(names["vit"], names["vit"]), out, options).bundle


@pytest.fixture
def tower(exported: Bundle, tmp_path: Path) -> Bundle:
    """The same, which a test may change."""
    return Bundle.open(shutil.copytree(exported.path, tmp_path / "vit"))


@pytest.fixture(scope="module")
def samples() -> Samples:
    """Pictures and sentences of chance."""
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (24, 1, 4, 4, 3)).repeat(SIZE // 4, 2).repeat(SIZE // 4, 3)
    words = [random.integers(1, 49000, (2, length)) for length in (4, 6, 8, 9)]
    return Samples(
        {
            "visual": tuple({"frames": picture.astype(np.uint8)} for picture in pictures),
            "text": tuple(
                {"token_ids": ids, "token_mask": np.ones(ids.shape, np.bool_)} for ids in words
            ),
        },
        {},
    )


@pytest.fixture(scope="module")
def trials(exported: Bundle, samples: Samples) -> dict[Any, NetworkTrial]:
    """Both forms of the frame tower."""
    found = int8_forms(
        exported, "visual", samples, answers=None, granularity="module", ranges=None, base=None,
        processor="cpu",
    )  # fmt: skip
    return {**found}


def with_outliers(model: ModelProto, layer: str, factor: float) -> str:
    """Make one channel huge before a layer, whose weights make up for it.

    Returns:
        The name of the layer's node.
    """
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    reader = next(node for node in model.graph.node if f"{layer}.weight" in "".join(node.input))
    norm = next(node for node in model.graph.node if node.output[0] == reader.input[0])
    assert norm.op_type == "LayerNormalization"
    for node, index, by, name in (
        (norm, 1, factor, "gain"),
        (norm, 2, factor, "shift"),
        (reader, 1, 1 / factor, "weight.new"),
    ):
        # Under a name of its own: layers of equal weights share them.
        changed = arrays[node.input[index]].copy()
        changed[5] *= by
        node.input[index] = f"{layer}.{name}"
        model.graph.initializer.append(numpy_helper.from_array(changed, node.input[index]))
    return str(reader.name)


def outputs(bundle: Bundle, precision: str, samples: Samples) -> np.ndarray:
    with open_network(bundle, "visual", precision=precision, threads=1) as network:
        return np.asarray(network.run({"frames": samples.frames})["features"])


def test_the_command_writes_both_towers_and_the_runtime_opens_them(
    tower: Bundle, samples: Samples, tmp_path: Path
) -> None:
    samples.save(tmp_path / "samples.safetensors")
    shown = invoke(app, "int8", tower.path, "--samples", tmp_path / "samples.safetensors")
    assert "0 of" in shown
    opened = Bundle.open(tower.path)
    parity = opened.manifest.provenance.parity["int8"]
    for name in ("visual", "text"):
        assert parity[name]["holds"]
        assert (
            parity[name]["bytes"] < opened.resolve(opened.variant(name, "fp32").file).stat().st_size
        )
    exact, small = (outputs(opened, precision, samples) for precision in ("fp32", "int8"))
    assert not np.array_equal(exact, small)
    assert np.linalg.norm(small - exact) < 0.05 * np.linalg.norm(exact)


def test_an_outlier_keeps_its_layer_in_floating_point(tower: Bundle, samples: Samples) -> None:
    before = outputs(tower, "fp32", samples)
    model = base_graph(tower, "visual")
    layer = with_outliers(model, "tower.transformer.resblocks.1.mlp.c_fc", 1e4)
    changed = store_variant(tower, "visual", "fp32", model.SerializeToString(), like="fp32")
    np.testing.assert_allclose(outputs(changed, "fp32", samples), before, atol=1e-4)
    trial = dynamic_trial(changed, "visual", samples, granularity="node")
    found = study(trial, "int8", method="dynamic")
    assert found.choice.reason is not None
    assert found.choice.holds
    assert found.choice.islands == (layer,)
    whole = study(dynamic_trial(changed, "visual", samples), "int8", method="dynamic")
    assert whole.choice.islands == ("tower.transformer.resblocks.1",)


@pytest.mark.parametrize("kept", ["minmax", "dynamic"])
def test_the_fastest_form_within_the_bounds_is_chosen(
    trials: dict[Any, NetworkTrial], monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    assert len(trials) == 2
    static = next(way for way in trials if way != "dynamic")
    wanted = "dynamic" if kept == "dynamic" else static
    tried: list[str] = []

    def speeds(_network: str, contents: Mapping[Any, bytes], _calls: object) -> dict[Any, float]:
        return {way: 2.0 if way == wanted else 1.0 for way in contents}

    def studied(way: Any, trial: NetworkTrial) -> Any:
        tried.append(way)
        return study(trial, "int8", method=way)

    monkeypatch.setattr("vtloc_calibration.quantize.fastest_form._speeds", speeds)
    found, content = fastest_form("visual", trials, studied, [])
    assert found.method == wanted
    # The slower form is not studied: the faster one is within the bounds without islands.
    assert tried == [wanted]
    assert content == trials[wanted].lowered(found.choice.lowered).SerializeToString()


def test_of_forms_about_as_fast_the_more_exact_one_is_chosen(
    trials: dict[Any, NetworkTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {
        way: trial.measure_outputs(frozenset(trial.modules)).relative_l2
        for way, trial in trials.items()
    }
    exact, rough = sorted(errors, key=lambda way: errors[way])

    def speeds(_network: str, contents: Mapping[Any, bytes], _calls: object) -> dict[Any, float]:
        return {way: 1.05 if way == rough else 1.0 for way in contents}

    monkeypatch.setattr("vtloc_calibration.quantize.fastest_form._speeds", speeds)
    found, _ = fastest_form(
        "visual", trials, lambda way, trial: study(trial, "int8", method=way), []
    )
    assert found.method == exact


def test_a_form_that_needs_islands_gives_way_to_a_faster_one(
    trials: dict[Any, NetworkTrial], monkeypatch: pytest.MonkeyPatch
) -> None:
    static = next(way for way in trials if way != "dynamic")

    def speeds(_network: str, contents: Mapping[Any, bytes], _calls: object) -> dict[Any, float]:
        # Alone is a form that was given islands, which cost it half of its speed.
        full = {static: 2.0, "dynamic": 3.0}
        return {way: full[way] / (2 if len(contents) == 1 else 1) for way in contents}

    def studied(way: Any, trial: NetworkTrial) -> Any:
        error = trial.measure_outputs(frozenset(trial.modules)).relative_l2
        tight = ParityBounds(Bound(0.9 * error if way == "dynamic" else 1.0, 0.0))
        return study(trial, "int8", method=way, bounds=tight)

    monkeypatch.setattr("vtloc_calibration.quantize.fastest_form._speeds", speeds)
    found, _ = fastest_form("visual", trials, studied, [])
    assert found.method == static


def test_ranges_that_are_measured_as_it_runs_are_for_cpus(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="dynamic is for CPUs"):
        invoke(app,
            "int8", tmp_path, "--samples", tmp_path, "--ranges", "dynamic", "--target", "sm80",
        )  # fmt: skip
