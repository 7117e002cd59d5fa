"""Encoders by their names to a bundle that answers without a localizer."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from tests.support import tensorrt_double, tiny_towers
from vtloc.encoders import load_visual_encoder
from vtloc.errors import EncoderError
from vtloc_export import bundle_export as exporting
from vtloc_export.bundle_export import export_bundle
from vtloc_export.cli.main import main
from vtloc_export.cli.onnx import read_source
from vtloc_export.engines.build import EngineOptions, build_engines
from vtloc_export.errors import ExportError
from vtloc_export.options import ExportOptions
from vtloc_export.parity.verification import tensor_parity, verify_bundle
from vtloc_export.sources import EncoderPair, load_source
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.errors import EngineError, UsageError
from vtloc_runtime.localize.localizer import Localizer
from vtloc_runtime.localize.presence.reference_frames import ReferenceFrames
from vtloc_runtime.localize.presence.sentence_bank import SentenceBank
from vtloc_runtime.video import FrameSequence

QUICK = ExportOptions(precisions=("fp32",), lint=False)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return tiny_towers.register(tmp_path_factory.mktemp("towers"))


@pytest.fixture(scope="module")
def pair_bundle(names, tmp_path_factory):
    """SigLIP's kind: another tokenizer, pictures that are squashed, pooling over the context."""
    out = tmp_path_factory.mktemp("bundles") / "siglip"
    options = ExportOptions(precisions=("fp32", "fp16"), lint=False)
    return export_bundle(EncoderPair(names["siglip"], names["siglip"]), out, options).bundle


def test_it_holds_two_networks_and_what_answers_without_training(pair_bundle, names):
    manifest = pair_bundle.manifest
    assert manifest.network_names == ("visual", "text")
    assert manifest.decoding.strategy == "similarity"
    assert (manifest.shared_space.start, manifest.shared_space.stop) == (0, tiny_towers.WIDTH)
    assert manifest.provenance.visual_encoder == names["siglip"]
    bank = SentenceBank.from_bundle(pair_bundle)
    assert bank is not None
    assert manifest.sentence_bank is not None
    assert bank.sentences.shape[1] == len(bank.mean) == tiny_towers.WIDTH
    assert manifest.sentence_bank.mean_weight == 0.5


def test_it_finds_moments(pair_bundle):
    pictures = np.random.default_rng(0).integers(0, 256, (6, 40, 40, 3), dtype=np.uint8)
    video = FrameSequence(pictures, np.arange(6.0))
    with Localizer.open(pair_bundle.always_answering()) as localizer:
        answer = localizer.localize(video, "The dog runs!")
    assert answer.best is not None
    assert 0 <= answer.best.start < answer.best.end <= 6


def test_its_tokenizer_cleans_and_cuts_alone(pair_bundle):
    tokenizer = Tokenizer.from_str(pair_bundle.tokenizer().decode())
    assert tokenizer.encode("The DOG, runs!?").ids == tokenizer.encode("the dog runs").ids
    assert len(tokenizer.encode("dog " * 50).ids) == tiny_towers.CONTEXT


def test_verifying_compares_two_networks_and_answers_by_similarity(pair_bundle):
    report = verify_bundle(pair_bundle.path)
    assert {item.network for item in report.tensors} == {"visual", "text"}
    assert {item.precision for item in report.answers} == {"fp32", "fp16"}
    fp32 = next(item for item in report.answers if item.precision == "fp32")
    assert fp32.broken is None
    assert fp32.same == 1


def test_engines_are_built_of_two_networks(pair_bundle):
    with tensorrt_double.installed():
        reports = build_engines(pair_bundle, EngineOptions(target="sm80"))
    assert [report.engine.identity.network for report in reports] == ["visual", "text"]


def test_it_is_exported_again_from_itself(pair_bundle, tmp_path):
    again = export_bundle(pair_bundle.path, tmp_path / "again", QUICK).bundle
    assert again.manifest.network_names == ("visual", "text")
    assert again.manifest.sentence_bank == pair_bundle.manifest.sentence_bank
    assert again.manifest.decoding == pair_bundle.manifest.decoding


def test_what_sentences_are_compared_with_is_exported_again_as_it_is(pair_bundle, tmp_path):
    folder = tmp_path / "referred"
    shutil.copytree(pair_bundle.path, folder)
    frames = ReferenceFrames.from_features(
        np.random.default_rng(0).normal(size=(9, tiny_towers.WIDTH))
    )
    content = frames.to_bytes()
    (folder / "frames").write_bytes(content)
    manifest = json.loads((folder / "bundle.json").read_text())
    entry = {"file": "frames", "sha256": hashlib.sha256(content).hexdigest()}
    manifest["sentence_bank"]["reference"] = entry
    (folder / "bundle.json").write_text(json.dumps(manifest))
    again = export_bundle(folder, tmp_path / "again", QUICK).bundle
    assert again.manifest.sentence_bank == Bundle.open(folder).manifest.sentence_bank
    assert (again.path / "frames").read_bytes() == content


def test_an_fp16_file_that_computes_in_fp32_is_found(pair_bundle, names, tmp_path):
    """As in ultralytics issue 21575: the engine answers in FP32, and says nothing."""
    folder = tmp_path / "disguised"
    folder.mkdir()
    for file in pair_bundle.path.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((folder / "bundle.json").read_text())
    variants = manifest["networks"]["visual"]["variants"]
    variants["fp16"]["file"] = variants["fp32"]["file"]
    variants["fp16"]["sha256"] = variants["fp32"]["sha256"]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    options = EngineOptions(target="sm80", networks=("visual",))
    with tensorrt_double.installed(), pytest.raises(EngineError, match="would compute in FP32"):
        build_engines(Bundle.open(folder), options)
    module = load_visual_encoder(names["siglip"])
    widths = {"size": 32, "feature": tiny_towers.WIDTH}
    parity = tensor_parity(Bundle.open(folder), "visual", "fp16", module, widths)
    assert parity.broken is not None
    assert "weights are FP32" in parity.broken


@pytest.mark.parametrize(
    ("visual", "text"),
    [("vit", "pe"), ("siglip", "siglip2"), ("vit", "minilm"), ("efficientnet-lite0", "vit")],
)
def test_towers_that_share_no_space_are_refused_before_they_are_loaded(
    names, tmp_path, visual, text, monkeypatch
):
    monkeypatch.setattr("vtloc_export.networks.load_encoders", None)
    pair = EncoderPair(names.get(visual, visual), names.get(text, text))
    with pytest.raises(ExportError, match="share no space") as caught:
        export_bundle(pair, tmp_path / "bundle", QUICK)
    assert pair.visual in str(caught.value)
    assert "vtloc train" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def leave(*arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return left.value.code


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["open_clip:ViT-B32:openai", "--out", "OUT"], EncoderError, "near it are ViT-B-32"),
        (["open_clip:ViT-B-32:opena", "--out", "OUT"], EncoderError, "near it are openai"),
        (["openclip:ViT-B-32:openai", "--out", "OUT"], EncoderError, "open_clip:ViT-B-32:openai"),
        (["ViT-B-32", "--out", "OUT"], EncoderError, "Did you mean open_clip:ViT-B-32"),
        (["open_clip:ViT-B-32:/nowhere.pt", "--out", "OUT"], EncoderError, "no file /nowhere.pt"),
        (["hf:nowhere", "--out", "OUT"], EncoderError, "unknown frame encoder"),
        (["minilm", "--out", "OUT"], EncoderError, "unknown frame encoder"),
        (["openai/clip-vit-base", "--out", "OUT"], EncoderError, "neither a file nor"),
        (["siglip2", "--out", "OUT"], EncoderError, "Did you mean open_clip:ViT-B-32-SigLIP2"),
        (["hf-hub:a/b", "--out", "OUT"], EncoderError, "Did you mean open_clip:hf-hub:a/b?"),
        (["open_clip:local-dir:/no", "--out", "OUT"], EncoderError, "there is no folder '/no'"),
        (["", "--out", "OUT"], UsageError, "nothing to export is named"),
        (["--visual", "minilm", "--out", "OUT"], UsageError, "nothing to export is named"),
        (["--out", "OUT"], UsageError, "nothing to export is named"),
        (["minilm", "--visual", "x", "--text", "y", "--out", "OUT"], UsageError, "both a source"),
        (["open_clip:ViT-B-32"], UsageError, "has no place"),
        (["open_clip:ViT-B-32", "--name", "a/b"], UsageError, "cannot be the name of a bundle"),
    ],
)
def test_bad_names_are_one_line_and_leave_nothing(arguments, error, said, tmp_path, capsys):
    words = [str(tmp_path / "out") if word == "OUT" else word for word in arguments]
    assert leave("onnx", *words) == error.exit_code
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("vtloc-export: ")] == lines[-1:]
    assert said in lines[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_enough_of_a_place(pair_bundle, tmp_path, monkeypatch, capsys):
    asked = []

    def export(source, place, options, progress):
        asked.append((source, place, options.name))
        return exporting.ExportReport(pair_bundle, (), seconds={"visual in fp32": 2.0})

    monkeypatch.setattr(exporting, "export_bundle", export)
    monkeypatch.setenv("VTLOC_BUNDLES", str(tmp_path))
    assert leave("onnx", "open_clip:ViT-B-32", "--name", "clip-b32") == 0
    pair = EncoderPair("open_clip:ViT-B-32", "open_clip:ViT-B-32")
    assert asked == [(pair, tmp_path / "clip-b32", "clip-b32")]
    assert "2 s: visual in fp32 2" in capsys.readouterr().out


def test_a_named_bundle_is_exported_again_by_its_name(pair_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("VTLOC_BUNDLES", str(pair_bundle.path.parent))
    assert read_source(pair_bundle.path.name, None, None) == pair_bundle.path


@pytest.mark.parametrize(
    ("encoder", "title"),
    [
        ("open_clip:ViT-B-32:openai", "ViT-B-32 openai"),
        ("open_clip:ViT-B-32:openai:/home/me/weights.safetensors", "ViT-B-32 openai"),
        ("open_clip:local-dir:/home/me/ViT-B-16-SigLIP2/", "ViT-B-16-SigLIP2"),
        ("open_clip:hf-hub:timm/PE-Core-B-16", "PE-Core-B-16"),
    ],
)
def test_a_bundle_is_named_after_its_encoder(encoder, title):
    source = load_source(EncoderPair(encoder, encoder))
    assert source.name == title
    assert source.license == ("MIT" if "openai" in encoder else "unspecified")


def test_the_list_of_models_names_what_they_need(capsys):
    assert leave("models") == 0
    printed = capsys.readouterr().out
    for word in ("open_clip:ViT-B-32:openai", "PE-Core", "Gemma's", "Apple", "63.3", "local-dir"):
        assert word in printed
    assert leave("models", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert all(one["source"] for one in listed if one["accuracy"] is not None)


def test_pictures_of_the_new_kinds_keep_their_types(pair_bundle):
    graph = onnx.load(pair_bundle.path / "visual.fp16.onnx").graph
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
