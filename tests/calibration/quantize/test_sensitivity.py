"""Sensitivity to precision, measured on outputs and on answers of a whole bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.quantizable import convolutional, frames
from vtloc_calibration.errors import CalibrationError
from vtloc_calibration.quantize.island_search import ParityBounds
from vtloc_calibration.quantize.onnx_graph import base_graph, load_graph, widen_constants
from vtloc_calibration.quantize.sensitivity import best_method, half_trial, int8_trials, study
from vtloc_calibration.quantize.simulated_fp16 import round_to_half
from vtloc_calibration.quantize.trials import AnswerTrial, NetworkTrial
from vtloc_calibration.samples.samples import Samples
from vtloc_calibration.scores.labelled import read_labelled
from vtloc_calibration.scores.plots import plot_sensitivity
from vtloc_export.graph.compact_weights import compact_graph
from vtloc_export.parity.measures import Bound
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError

Videos = list[tuple[Path, list[str]]]


@pytest.fixture
def trial(weighted_bundle: Bundle, striped_labels: Path, striped_videos: Videos) -> AnswerTrial:
    labelled = read_labelled(striped_labels, videos=striped_videos[0][0].parent)
    return AnswerTrial(weighted_bundle, labelled)


def test_the_bundles_own_networks_move_no_answer(trial: AnswerTrial) -> None:
    drift = trial.drift(trial.answers({}))
    assert drift.sentences == 18
    assert drift.moved == 0
    assert drift.overlap == 1
    assert trial.accuracy().recall == 1


def test_videos_beyond_the_memory_for_frames_are_left_out(
    weighted_bundle: Bundle, striped_labels: Path, striped_videos: Videos
) -> None:
    labelled = read_labelled(striped_labels, videos=striped_videos[0][0].parent)
    with AnswerTrial(weighted_bundle, labelled, frames=30) as few:
        # Two videos of twelve seconds, three sentences each.
        assert len(few.answers({})) == 6
    with pytest.raises(CalibrationError, match="no labelled video can be read"):
        AnswerTrial(weighted_bundle, labelled, frames=5)


def test_a_network_that_sees_other_colours_moves_answers(
    trial: AnswerTrial, weighted_bundle: Bundle
) -> None:
    model = base_graph(weighted_bundle, "visual")
    head = next(one for one in model.graph.initializer if one.name == "head.weight")
    exchanged = numpy_helper.to_array(head)[[1, 2, 0]]
    head.CopyFrom(numpy_helper.from_array(exchanged, "head.weight"))
    answers = trial.answers({"visual": model.SerializeToString()})
    drift = trial.drift(answers)
    assert drift.moved > 0.5
    assert drift.overlap < 0.5
    assert trial.accuracy(answers).recall < 0.5


def test_half_precision_is_studied_by_module(
    weighted_bundle: Bundle, striped_samples: Samples, trial: AnswerTrial
) -> None:
    found = study(half_trial(weighted_bundle, "visual", striped_samples, answers=trial), "fp16")
    assert {one.module for one in found.ranked} == {"input", "stem", "head"}
    assert found.choice.holds
    assert found.choice.effect.answers is not None
    assert found.choice.effect.answers.moved == 0
    for one in found.ranked:
        assert 0 < one.alone.relative_l2 < 1e-2


def test_int8_is_studied_with_every_way_to_choose_ranges(
    weighted_bundle: Bundle, striped_samples: Samples
) -> None:
    trials = int8_trials(weighted_bundle, "visual", striped_samples)
    assert set(trials) == {"minmax", "percentile", "entropy"}
    method = best_method(trials)
    errors = {
        name: one.measure(frozenset({"stem", "head"})).relative_l2 for name, one in trials.items()
    }
    assert errors[method] == min(errors.values())
    found = study(trials[method], "int8", method=method)
    assert found.choice.holds
    assert found.summary()["ranges"] == method


def test_single_products_can_be_spared(weighted_bundle: Bundle, striped_samples: Samples) -> None:
    trials = int8_trials(
        weighted_bundle, "visual", striped_samples, methods=("minmax",), granularity="node"
    )
    assert len(trials["minmax"].modules) == 2


def test_a_network_without_products_has_nothing_to_lower(
    weighted_bundle: Bundle, striped_samples: Samples
) -> None:
    trials = int8_trials(weighted_bundle, "text", striped_samples, methods=("minmax",))
    found = study(trials["minmax"], "int8")
    assert found.ranked == ()
    assert found.choice.holds
    assert found.choice.effect.relative_l2 == 0


def test_a_module_that_overflows_in_half_precision_is_spared() -> None:
    # One channel is so large that half precision cannot hold it.
    model = load_graph(convolutional(spread=3e5).SerializeToString())
    trial = NetworkTrial(
        "visual",
        model,
        lambda nodes: round_to_half(model, nodes),
        modules={node.name: frozenset({node.name}) for node in model.graph.node},
        calls=[{"frames": frames(8, seed=seed)} for seed in range(3)],
    )
    found = study(trial, "fp16", bounds=ParityBounds(Bound(relative_l2=1e-2, cosine=0.999)))
    assert found.choice.holds
    assert found.choice.islands
    assert "Relu_4" not in found.choice.islands
    lowered = trial.lowered(found.choice.lowered)
    assert np.isfinite(found.choice.effect.relative_l2)
    onnx.checker.check_model(lowered)


def test_weights_stored_small_are_constants_again(weighted_bundle: Bundle) -> None:
    model = convolutional()
    wide = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    small = onnx.ModelProto()
    small.CopyFrom(model)
    for one in list(small.graph.initializer):
        if one.name == "stem.weight":
            one.CopyFrom(numpy_helper.from_array(wide[one.name].astype(np.float16), "stem.half"))
    small.graph.node.insert(
        0, helper.make_node("Cast", ["stem.half"], ["stem.weight"], to=TensorProto.FLOAT)
    )
    widened = load_graph(small.SerializeToString())
    widen_constants(widened)
    found = {one.name: numpy_helper.to_array(one) for one in widened.graph.initializer}
    assert found.keys() == wide.keys()
    assert found["stem.weight"].dtype == np.float32
    assert np.allclose(found["stem.weight"], wide["stem.weight"], atol=1e-3)
    onnx.checker.check_model(widened)


def test_tables_stored_small_are_constants_again() -> None:
    words = numpy_helper.from_array(
        np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32), "words"
    )
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["words", "ids"], ["first"], name="one"),
            helper.make_node("Gather", ["words", "others"], ["second"], name="two"),
            helper.make_node("Add", ["first", "second"], ["out"], name="sum"),
        ],
        "words",
        [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch"]) for n in ("ids", "others")],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 8])],
        [words],
    )
    plain = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    widened = load_graph(compact_graph(plain, "text").SerializeToString())
    widen_constants(widened)
    assert [(one.op_type, one.name, list(one.input)) for one in widened.graph.node] == [
        (one.op_type, one.name, list(one.input)) for one in plain.graph.node
    ]
    (found,) = widened.graph.initializer
    assert found.name == "words"
    assert np.allclose(numpy_helper.to_array(found), numpy_helper.to_array(words), atol=0.02)
    onnx.checker.check_model(widened)


def test_a_bundle_without_fp32_cannot_be_lowered(weighted_bundle: Bundle) -> None:
    import msgspec

    visual = weighted_bundle.manifest.networks["visual"]
    fewer = msgspec.structs.replace(visual, variants={"fp16": visual.variants["fp16"]})
    networks = {**weighted_bundle.manifest.networks, "visual": fewer}
    manifest = msgspec.structs.replace(weighted_bundle.manifest, networks=networks)
    bundle = dataclasses.replace(weighted_bundle, manifest=manifest)
    with pytest.raises(BundleError, match="calibration starts from"):
        base_graph(bundle, "visual")


def test_answers_need_a_video_that_can_be_read(weighted_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    file = tmp_path / "labels.jsonl"
    file.write_text(
        '{"qid": 1, "vid": "a.mp4", "duration": 4, "query": "red", "relevant_windows": [[0, 2]]}',
        encoding="utf-8",
    )
    with pytest.raises(CalibrationError, match="nothing to ask"):
        AnswerTrial(weighted_bundle, read_labelled(file, videos=tmp_path))


def test_the_plot_of_sensitivity_is_a_picture(
    weighted_bundle: Bundle, striped_samples: Samples, tmp_path: Path
) -> None:
    studies = [
        study(half_trial(weighted_bundle, name, striped_samples), "fp16")
        for name in ("visual", "localizer")
    ]
    file = tmp_path / "sensitivity.svg"
    plot_sensitivity(studies, file)
    assert "<svg" in file.read_text(encoding="utf-8")
