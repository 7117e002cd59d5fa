"""Claim: INT8 makes CLIP's towers faster on CPUs, and outliers that it cannot hold are found.

Exports a CLIP model with random weights, draws samples from a folder of videos, and runs
``vtloc-calibrate int8``. Trained towers have a few huge channels that random ones lack;
``--outliers 30`` makes four channels before every layer 30 times as large, and the layer's
weights as much smaller, which changes nothing in FP32. Other options go to ``vtloc-calibrate``.

    python -m benchmarks.accuracy.transformer_int8 VIDEOS --model ViT-B-32 --outliers 30
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.throughput.machine import machine_line
from vtloc_calibration.cli.main import app
from vtloc_export.bundle_export import export_bundle
from vtloc_export.options import ExportOptions
from vtloc_export.sources import EncoderPair
from vtloc_runtime.bundle.bundle import Bundle

if TYPE_CHECKING:
    import torch

CHANNELS = 4
"""Outliers before each layer."""

SENTENCES = (
    "a dog runs", "a person opens a door", "two men are wrestling on stage",
    "a cockatoo moves its head", "cars drive along the highway", "a flower moves in the wind",
    "someone flips a pancake", "a bear dances", "a slide with text",
    "a plane flies over a field", "a woman puts on makeup", "a boat on the water",
)  # fmt: skip


def encoder(model: str, factor: float, folder: Path) -> str:
    """The name of an encoder with random weights, with outliers where the factor is not 1."""
    if factor == 1:
        return f"open_clip:{model}"
    import open_clip
    import torch

    torch.manual_seed(0)
    clip = open_clip.create_model(model, pretrained=None)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tower in (clip.visual.transformer, clip.transformer):
            for block in tower.resblocks:
                add_outliers(block.ln_1, block.attn.in_proj_weight, factor, chance)
                add_outliers(block.ln_2, block.mlp.c_fc.weight, factor, chance)
    torch.save(clip.state_dict(), folder / "weights.pt")
    return f"open_clip:{model}:{folder / 'weights.pt'}"


def add_outliers(norm: Any, weight: torch.Tensor, factor: float, chance: torch.Generator) -> None:
    """Make channels of a norm larger, and the weights that read them smaller."""
    import torch

    channels = torch.randperm(len(norm.weight), generator=chance)[:CHANNELS]
    norm.weight[channels] *= factor
    norm.bias[channels] *= factor
    weight[:, channels] /= factor


def main() -> None:
    """Calibrate, and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path, help="a folder of at least three videos")
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--outliers", type=float, default=1.0, metavar="FACTOR")
    options, others = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        name = encoder(options.model, options.outliers, folder)
        made = ExportOptions(precisions=("fp32",), lint=False)
        bundle = export_bundle(EncoderPair(name, name), folder / "bundle", made).bundle
        samples, sentences = folder / "samples.safetensors", folder / "sentences.txt"
        sentences.write_text("\n".join(SENTENCES), encoding="utf-8")
        for command in (
            ["samples", bundle.path, "--queries", sentences, "--videos", options.videos,
             "--out", samples],
            ["int8", bundle.path, "--samples", samples, *others],
        ):  # fmt: skip
            app([str(word) for word in command], standalone_mode=False)
        parity = Bundle.open(bundle.path).manifest.provenance.parity["int8"]
    print("\n| network | ranges | spared | relative L2 | cosine | INT8 a second | FP32 |")
    print("|---|---|---|--:|--:|--:|--:|")
    for network, one in parity.items():
        speed = one["items_per_second"]
        print(
            f"| {network} | {one['ranges']} | {', '.join(one['islands']) or 'none'} "
            f"| {one['relative_l2']:.3f} | {one['cosine']:.4f} | {speed['int8']:.1f} "
            f"| {speed['fp32']:.1f} |"
        )
    print(f"\n{options.model}, outliers {options.outliers:g}. {machine_line('onnxruntime')}")


if __name__ == "__main__":
    main()
