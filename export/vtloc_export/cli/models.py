"""``vtloc-export models``: public encoders, as a table."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from vtloc.encoders.catalogue import PUBLIC_ENCODERS, PublicEncoder
from vtloc_runtime.system.tables import print_table

_COLUMNS = (
    "name", "ImageNet %", "Gflop a frame", "million parameters", "pixels", "width", "tokens",
    "tokenizer", "languages", "licence", "recommended for",
)  # fmt: skip


def models_command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the list as JSON on standard output.")
    ] = False,
) -> None:
    """List public encoders, by the names that export and features take.

    A small tower of each kind is compared with open_clip in the tests.

    ImageNet % is the published zero-shot accuracy; --json names its source. Parameters are those
    of the frame tower and of the text tower.
    """
    if as_json:
        sys.stdout.write(json.dumps([asdict(one) for one in PUBLIC_ENCODERS], indent=2) + "\n")
        return
    print_table("Encoders", _COLUMNS, [_row(one) for one in PUBLIC_ENCODERS])
    sys.stdout.write(
        "\nWeights are fetched from the Hugging Face hub. Without a network, append a file: "
        "open_clip:ViT-B-32:openai:/path/to/open_clip_model.safetensors\n"
        "Tokenizers other than CLIP's come from the hub too: copy the model's folder, and name it "
        "open_clip:local-dir:/path/to/folder\n"
    )


def _row(one: PublicEncoder) -> list[str]:
    return [
        one.name,
        "" if one.accuracy is None else f"{one.accuracy:.1f}",
        f"{one.gigaflops:.1f}",
        f"{one.frame_parameters:.0f} + {one.text_parameters:.0f}",
        str(one.size),
        str(one.width),
        str(one.context),
        one.tokenizer,
        one.languages,
        one.license,
        one.advice,
    ]
