"""Checkpoints to bundles, and bundles to bundles."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from vtloc.errors import CheckpointError
from vtloc.model import LocalizerConfig, LocalizerNetwork, load_checkpoint, save_checkpoint
from vtloc_export import network_export as exporting
from vtloc_export.bundle_export import export_bundle
from vtloc_export.errors import ExportError, ParityError
from vtloc_export.options import ExportOptions
from vtloc_export.sources import load_source
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import BundleError, OutputError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.video import FrameSequence

QUICK = ExportOptions(precisions=("fp32",), lint=False)


def test_a_bundle_holds_every_network_in_every_precision(bundle):
    manifest = Bundle.open(bundle.path).manifest
    for network in manifest.networks.values():
        assert set(network.variants) == {"fp32", "fp16", "compact"}
    for file, sha256 in (
        (variant.file, variant.sha256)
        for network in manifest.networks.values()
        for variant in network.variants.values()
    ):
        bundle.read(file, sha256)
    assert (manifest.license, manifest.frames_per_second) == ("CC0-1.0", 2.0)
    assert manifest.provenance.training_data == "nothing"
    assert manifest.shared_space is not None
    assert manifest.shared_space.stop == 32
    # Its boundaries are trained, so nothing is turned away or scored by the bank before labels.
    assert manifest.sentence_bank is not None
    assert (manifest.sentence_bank.mean_weight, manifest.sentence_bank.threshold) == (0, None)
    assert manifest.preprocessing.size == 32


def test_the_manifest_states_dtypes_and_shapes(bundle):
    localizer = bundle.manifest.networks["localizer"].variants
    features = {kind: variant.inputs[0] for kind, variant in localizer.items()}
    assert features["fp32"].dtype == features["compact"].dtype == "float32"
    assert features["fp16"].dtype == "float16"
    assert features["fp16"].shape == ("batch", "frames", 32)
    assert {output.dtype for output in localizer["fp16"].outputs} == {"float32"}


def test_the_manifest_records_what_was_measured(bundle):
    parity = bundle.manifest.provenance.parity
    assert parity["localizer"]["fp32"]["outputs"]["start_logits"]["relative_l2"] < 1e-5
    assert parity["text"]["fp16"]["outputs"]["sentence"]["cosine"] > 0.9999
    assert parity["visual"]["fp16"]["largest_activations"]


def test_the_tokenizer_neither_pads_nor_runs_over(bundle):
    tokenizer = Tokenizer.from_str(bundle.tokenizer().decode())
    assert len(tokenizer.encode("a dog").ids) == 4
    assert len(tokenizer.encode("dog " * 100).ids) == bundle.manifest.tokenizer.max_tokens


def test_the_runtime_finds_moments_with_it(bundle):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    video = FrameSequence(pictures, np.arange(6.0))
    with Localizer.open(bundle.path, precision="compact") as localizer:
        answer = localizer.localize(video, "a dog runs over the lawn")
    assert answer.best is not None
    assert 0 <= answer.best.start <= answer.best.end <= 6


def test_a_bundle_is_exported_again_from_its_own_weights(bundle, checkpoint, tmp_path):
    (tmp_path / "shipped").mkdir()
    compact_only = keep_precision(bundle, tmp_path / "shipped", "compact")
    source = load_source(compact_only)
    assert source.visual_encoder == bundle.manifest.provenance.visual_encoder
    wanted = load_checkpoint(checkpoint).network.state_dict()
    assert source.network is not None
    for name, weight in source.network.state_dict().items():
        assert (weight - wanted[name]).abs().max() < 0.02 * wanted[name].abs().max().clamp_min(0.01)
    again = export_bundle(compact_only, tmp_path / "again", QUICK).bundle
    assert set(again.manifest.networks["localizer"].variants) == {"fp32"}
    assert again.manifest.license == bundle.manifest.license
    old, new = again.manifest.provenance, bundle.manifest.provenance
    assert (old.checkpoint_sha256, old.localizer) == (new.checkpoint_sha256, new.localizer)


def test_what_calibration_chose_goes_along(bundle, tmp_path):
    (tmp_path / "calibrated").mkdir()
    folder = keep_precision(bundle, tmp_path / "calibrated", "fp32")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["networks"]["localizer"]["islands"] = {"fp16": ["head.hidden"]}
    manifest["score_calibration"] = {
        "raw": [0.0, 1.0],
        "probability": [0.1, 0.9],
    }
    (folder / "bundle.json").write_text(json.dumps(manifest))
    half = ExportOptions(precisions=("fp16",), lint=False)
    again = export_bundle(folder, tmp_path / "again", half).bundle
    assert again.manifest.score_calibration == Bundle.open(folder).manifest.score_calibration
    assert again.manifest.networks["localizer"].islands == {"fp16": ("head.hidden",)}
    graph = onnx.load(again.path / "localizer.fp16.onnx").graph
    kinds = {item.name: item.data_type for item in graph.initializer}
    assert {kind for name, kind in kinds.items() if name.startswith("head.hidden.")} == {1}
    assert {kind for name, kind in kinds.items() if name.startswith("head.output.")} == {10}


def keep_precision(bundle, folder, precision):
    """A copy of a bundle that holds one precision only."""
    manifest = json.loads((bundle.path / "bundle.json").read_text())
    for network in manifest["networks"].values():
        kept = network["variants"][precision]
        network["variants"] = {precision: kept}
        (folder / kept["file"]).write_bytes((bundle.path / kept["file"]).read_bytes())
    for file in ("tokenizer.json", manifest["sentence_bank"]["file"]):
        (folder / file).write_bytes((bundle.path / file).read_bytes())
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_a_failed_check_leaves_no_bundle(checkpoint, tmp_path, monkeypatch):
    def fails(*_, network, **__):
        if network == "text":
            raise ParityError("differs", where=network)

    monkeypatch.setattr(exporting, "check", fails)
    with pytest.raises(ParityError, match="text: differs"):
        export_bundle(checkpoint, tmp_path / "bundle", QUICK)
    assert list(tmp_path.iterdir()) == []


def test_a_localizer_that_half_precision_cannot_hold_leaves_no_bundle(checkpoint, tmp_path):
    loaded = load_checkpoint(checkpoint)
    network = loaded.network
    network.frame_projection.weight.data.mul_(1e9)  # no module is around it but all of it
    loud = tmp_path / "loud.safetensors"
    save_checkpoint(loud, network, visual_encoder=loaded.visual_encoder,
                    text_encoder=loaded.text_encoder, metadata={})  # fmt: skip
    options = ExportOptions(precisions=("fp16",), lint=False)
    with pytest.raises((ExportError, ParityError), match="localizer"):
        export_bundle(loud, tmp_path / "bundle", options)
    assert [path.name for path in tmp_path.iterdir()] == ["loud.safetensors"]


def test_a_localizer_of_other_widths_is_refused(checkpoint, tmp_path):
    loaded = load_checkpoint(checkpoint)
    other = LocalizerNetwork(LocalizerConfig(feature_dim=48, token_dim=32, hidden_dim=32))
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, other, visual_encoder=loaded.visual_encoder,
                    text_encoder=loaded.text_encoder, metadata={})  # fmt: skip
    with pytest.raises(ExportError, match="features of width 48"):
        export_bundle(path, tmp_path / "bundle", QUICK)


def test_sources_that_are_none_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.safetensors"):
        export_bundle(tmp_path / "none.safetensors", tmp_path / "bundle", QUICK)
    with pytest.raises(BundleError, match=r"bundle\.json|there is no such bundle"):
        export_bundle(tmp_path, tmp_path / "bundle", QUICK)


def test_a_bundle_never_replaces_its_source(bundle):
    again = ExportOptions(precisions=("fp32",), overwrite=True)
    for place in (bundle.path, bundle.path / "engines" / "new"):
        with pytest.raises(OutputError, match="the source, which is an input"):
            export_bundle(bundle.path, place, again)


def test_an_existing_bundle_is_refused_before_any_work(bundle, tmp_path):
    with pytest.raises(OutputError, match="--overwrite"):
        export_bundle(tmp_path / "not even read", bundle.path, QUICK)
