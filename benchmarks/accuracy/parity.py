"""How far every exported network is from PyTorch, at batch 1 and 8 and at lengths from 1 to 1,024.

    python -m benchmarks.accuracy.parity                 # the default bundle, and a short BERT
    python -m benchmarks.accuracy.parity --full          # full-size ViT-B/32 and BERT-base

FP32 and compact files run on ONNX Runtime. FP16 is computed by PyTorch in half precision on the
CPU, which rounds after every operation; ONNX Runtime would compute it in FP32 and hide overflow.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vtloc.encoders import load_text_encoder, load_visual_encoder
from vtloc.model import LocalizerConfig, LocalizerNetwork
from vtloc_export.graph.compact_weights import compact_graph
from vtloc_export.graph.tracing import export_graph, typed_network
from vtloc_export.networks import network_widths
from vtloc_export.parity.comparison import compare, onnxruntime_evaluate, torch_evaluate
from vtloc_export.parity.measures import worst
from vtloc_export.parity.probes import Lengths, probes
from vtloc_export.sources import load_source
from vtloc_runtime.bundle.bundle import DEFAULT_BUNDLE

if TYPE_CHECKING:
    from vtloc_runtime.bundle.manifest import NetworkName

BATCHES = (1, 8)
FRAMES = (1, 16, 64, 256, 1024)
TOKENS = (1, 8, 32)
LOCALIZER_TOKENS = 12


def shapes(network: NetworkName) -> Iterator[Lengths]:
    """The calls to measure."""
    for batch in BATCHES:
        if network == "visual":
            yield Lengths(batch)
        elif network == "text":
            yield from (Lengths(batch, tokens=tokens) for tokens in TOKENS)
        else:
            for frames in FRAMES:
                yield Lengths(batch, frames=frames, tokens=LOCALIZER_TOKENS, padded=batch > 1)


def measure(
    label: str, network: NetworkName, module: torch.nn.Module, widths: Mapping[str, int]
) -> None:
    """Print a line for every precision and shape."""
    graph = export_graph(typed_network(network, module), network, widths)
    reference = torch_evaluate(module, network)
    evaluators = {
        "fp32": onnxruntime_evaluate(graph.SerializeToString()),
        "fp16": torch_evaluate(typed_network(network, module, half=True), network),
        "compact": onnxruntime_evaluate(compact_graph(graph, network).SerializeToString()),
    }
    for precision, evaluate in evaluators.items():
        for shape in shapes(network):
            (probe,) = probes(network, widths, (shape,), seed=4)
            found = worst(item.worst for item in compare(network, evaluate, reference, [probe]))
            print(
                f"| {label} | {precision} | {probe.label} | {found.max_abs:.1e} "
                f"| {found.mean_abs:.1e} | {found.cosine:.7f} | {found.relative_l2:.1e} |",
                flush=True,
            )


def routing_localizer(config: LocalizerConfig) -> LocalizerNetwork:
    """The same localizer with the capsules of the paper, three iterations, random weights."""
    torch.manual_seed(0)
    return LocalizerNetwork(replace(config, routing=True)).eval()


def write_bert(folder: Path, *, layers: int) -> str:
    """A BERT with random weights in a directory."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    padding, unknown = "[PAD]", "[UNK]"
    words = {word: index for index, word in enumerate((padding, unknown, "[CLS]", "[SEP]", "a"))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unknown, pad_token=padding, model_max_length=512
    )
    wrapped.save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(BertConfig(num_hidden_layers=layers)).save_pretrained(folder)
    return f"hf:{folder}"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="ViT-B/32 and BERT-base at full size")
    parser.add_argument(
        "--localizer",
        type=Path,
        default=DEFAULT_BUNDLE,
        help="a checkpoint or bundle on the default encoders; the default bundle's own",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| network | precision | call | max abs | mean abs | cosine | relative L2 |")
    print("|---|---|---|---:|---:|---:|---:|")
    visual, text = load_visual_encoder("efficientnet-lite0"), load_text_encoder("minilm")
    localizer = load_source(options.localizer).network
    if localizer is None:
        parser.error(f"{options.localizer} has no localizer network")
    widths = network_widths(localizer, visual, text)
    measure("localizer", "localizer", localizer, widths["localizer"])
    routed = routing_localizer(localizer.config)
    measure("localizer with routing", "localizer", routed, widths["localizer"])
    measure("efficientnet-lite0", "visual", visual, widths["visual"])
    measure("minilm", "text", text, widths["text"])
    with tempfile.TemporaryDirectory() as folder:
        bert = load_text_encoder(write_bert(Path(folder), layers=12 if options.full else 2))
        widths = network_widths(localizer, visual, bert)
        measure(f"BERT, {12 if options.full else 2} layers of 768", "text", bert, widths["text"])
    if options.full:
        clip = "open_clip:ViT-B-32"
        tower, words = load_visual_encoder(clip), load_text_encoder(clip)
        widths = network_widths(localizer, tower, words)
        measure("ViT-B/32", "visual", tower, widths["visual"])
        measure("ViT-B/32 text", "text", words, widths["text"])


if __name__ == "__main__":
    main()
