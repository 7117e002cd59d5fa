"""Whether a bundle still answers as its PyTorch model does."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from vtloc.errors import AnnotationError
from vtloc_export.cli.main import main
from vtloc_export.errors import ParityError
from vtloc_export.parity.answers import answer_parity
from vtloc_export.parity.questions import Question, labelled_questions, synthetic_questions
from vtloc_export.parity.verification import verify_bundle
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.spans.moments import Localization, Moment


def answers(*spans):
    return [Localization("q", (Moment(start, end, 0.5),)) for start, end in spans]


def question(count, truth=None):
    return Question("video", ("q",) * count, truth)


def test_answers_that_stay_are_the_same():
    old, new = answers((0, 4), (5, 9)), answers((0.05, 4), (5, 9.09))
    found = answer_parity("onnxruntime", "fp16", [question(2)], old, new)
    assert (found.same, found.broken) == (1.0, None)
    assert found.iou == pytest.approx((3.95 / 4 + 4 / 4.09) / 2)
    assert found.drift == {}


def test_answers_that_move_break_the_bound():
    old, new = answers((0, 4), (5, 9)), answers((0, 4.2), (5, 9))
    found = answer_parity("onnxruntime", "fp16", [question(2)], old, new)
    assert found.same == 0.5
    assert found.broken is not None
    assert "50.0% of the answers" in found.broken


def test_a_tie_in_the_reference_has_two_answers():
    torn = Localization("q", (Moment(0, 4, 0.5), Moment(6, 9, 0.499), Moment(4, 5, 0.4)))
    for start, end, same, near in ((0, 4, 1.0, 0.0), (6, 9, 1.0, 1.0), (4, 5, 0.0, 0.0)):
        found = answer_parity("onnxruntime", "fp16", [question(1)], [torn], answers((start, end)))
        assert (found.same, found.near_ties) == (same, near)
        assert ("near-tie" in (found.broken or "")) == bool(near)


def test_an_answer_that_vanishes_has_moved():
    old, new = answers((0, 4)), [Localization("q", ())]
    found = answer_parity("onnxruntime", "compact", [question(1)], old, new)
    assert (found.same, found.iou) == (0.0, 0.0)


def test_questions_without_an_answer_verify_nothing():
    none, some = [Localization("q", ())], answers((0, 4))
    for old, broken in ((none * 3 + some, True), (none + some, False)):
        found = answer_parity("onnxruntime", "fp32", [question(len(old))], old, old)
        assert found.same == 1.0
        assert (found.broken is not None) == broken


def test_labels_show_how_the_task_drifts():
    truth = ((Moment(0, 4, 1),), (Moment(5, 9, 1),))
    old, new = answers((0, 4), (5, 9)), answers((0, 4), (5, 7))
    found = answer_parity("onnxruntime", "compact", [question(2, truth)], old, new)
    assert found.drift["mIoU"] == pytest.approx(-25)
    assert found.drift["R1@0.7"] == pytest.approx(-50)


def test_a_sound_bundle_is_verified_in_every_precision(bundle):
    report = verify_bundle(bundle.path)
    # Random weights hardly prefer one moment to another: answers may move, outputs may not.
    assert [item.broken for item in report.tensors] == [None] * 9
    exact = next(chain for chain in report.answers if chain.precision == "fp32")
    assert (exact.same, exact.broken) == (1.0, None)
    assert {(item.network, item.precision) for item in report.tensors} == {
        (network, precision)
        for network in ("visual", "text", "localizer")
        for precision in ("fp32", "fp16", "compact")
    }
    assert {item.arithmetic for item in report.tensors if item.precision == "fp16"} == {
        "onnx.reference"
    }
    assert {chain.precision for chain in report.answers} == {"fp32", "fp16", "compact"}
    assert {chain.queries for chain in report.answers} == {
        sum(len(item.queries) for item in synthetic_questions())
    }
    json.dumps(report.to_json())


def test_a_calibrated_bundle_is_compared_by_moments(bundle, tmp_path):
    """A threshold that turns every sentence away leaves something to compare nevertheless."""
    folder = tmp_path / "strict"
    shutil.copytree(bundle.path, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["score_calibration"] = {
        "raw": [0.0, 1.0],
        "probability": [0.0, 0.5],
        "threshold": 0.9,
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with Localizer.open(folder) as localizer:
        pictures = synthetic_questions()[0].video
        assert localizer.localize(pictures, "a dog").moments == ()
    exact = next(one for one in verify_bundle(folder).answers if one.precision == "fp32")
    assert (exact.same, exact.broken) == (1.0, None)

    model = onnx.load(folder / "localizer.fp32.onnx")
    # Ends for starts: the same weights, from which the PyTorch model is made, and other answers.
    other = {"start_logits": "end_logits", "end_logits": "start_logits"}
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            node.output[index] = other.get(name, name)
    content = model.SerializeToString()
    (folder / "localizer.fp32.onnx").write_bytes(content)
    variant = manifest["networks"]["localizer"]["variants"]["fp32"]
    variant["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    wrong = next(one for one in verify_bundle(folder).answers if one.precision == "fp32")
    assert wrong.broken is not None


@pytest.fixture
def drifting(bundle, tmp_path):
    """A bundle whose compact localizer is not the one that was exported."""
    folder = tmp_path / "drifting"
    shutil.copytree(bundle.path, folder)
    manifest = json.loads((folder / "bundle.json").read_text())
    variant = manifest["networks"]["localizer"]["variants"]["compact"]
    model = onnx.load(folder / variant["file"])
    item = next(item for item in model.graph.initializer if item.name == "head.output.bias")
    moved = numpy_helper.to_array(item) + np.array([2, -2], dtype=np.float32)
    item.CopyFrom(numpy_helper.from_array(moved, item.name))
    content = model.SerializeToString()
    (folder / variant["file"]).write_bytes(content)
    variant["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_a_network_that_drifted_is_exit_code_one(drifting, capsys):
    with pytest.raises(SystemExit) as left:
        main(["verify", str(drifting), "--json"])
    assert left.value.code == ParityError.exit_code == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    broken = [item for item in report["tensors"] if item["broken"]]
    assert [(item["network"], item["precision"]) for item in broken] == [("localizer", "compact")]
    assert "localizer in compact" in printed.err


def test_labels_without_their_video_are_named(bundle, tmp_path):
    labels = tmp_path / "labels.jsonl"
    row = {"id": "1", "video": "gone", "duration": 9, "query": "a dog", "moments": [[1, 2]]}
    labels.write_text(json.dumps(row) + "\n")
    with pytest.raises(AnnotationError, match="labelled video 'gone' is missing"):
        verify_bundle(bundle.path, data=labels)


def test_labels_find_their_videos_with_and_without_a_suffix(tmp_path):
    labels = tmp_path / "labels.jsonl"
    rows = [
        {"id": "1", "video": "one", "duration": 9, "query": "a dog", "moments": [[1, 2]]},
        {"id": "2", "video": "two.mkv", "duration": 9, "query": "a cat", "moments": [[0, 3]]},
        {"id": "3", "video": "one", "duration": 9, "query": "a lawn", "moments": [[4, 5]]},
    ]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("one.mp4", "two.mkv"):
        (tmp_path / name).touch()
    first, second = labelled_questions(labels)
    assert (first.video, first.queries) == (str(tmp_path / "one.mp4"), ("a dog", "a lawn"))
    assert (second.video, second.queries) == (str(tmp_path / "two.mkv"), ("a cat",))
    assert first.truth is not None
    assert [(m.start, m.end) for (m,) in first.truth] == [(1, 2), (4, 5)]
