"""Public models at full size, with random weights and, where only the hub has theirs, small
vocabularies."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from tests.support import tiny_towers

FRAME_TOWERS = (
    "PE-Core-T-16-384", "PE-Core-S-16-384", "MobileCLIP2-S0", "MobileCLIP-S1", "MobileCLIP2-S2",
    "ViTamin-S", "ViT-B-32-256", "ViT-B-16", "EVA02-B-16", "ViTamin-B", "PE-Core-B-16",
    "ViT-B-16-SigLIP", "ViT-B-32-SigLIP2-256", "ViT-B-16-SigLIP2", "ViT-L-14", "EVA02-L-14",
    "ViTamin-L", "PE-Core-L-14-336", "ViT-L-16-SigLIP2-256",
)  # fmt: skip
TEXT_TOWERS = (
    "MobileCLIP2-S0", "ViT-L-14", "ViT-B-16-SigLIP", "PE-Core-B-16", "ViT-B-32-SigLIP2-256",
    "ViT-L-14-worldwide", "xlm-roberta-base-ViT-B-32", "ViT-L-16-SigLIP2-256",
)  # fmt: skip
"""Names of open_clip, small towers first."""


def encoder_name(model: str) -> str:
    """A model's name for ``load_encoders``, usable without the hub.

    Args:
        model: open_clip's name of it. Where its tokenizer or its transformer's description lies on
            the hub, a model with every width and row of it is registered, and reads its sentences
            with a small vocabulary of the same kind.
    """
    import open_clip

    config: dict[str, Any] = open_clip.get_model_config(model)
    words = config["text_cfg"]
    hub = words.get("hf_tokenizer_name")
    if hub is None:
        return f"open_clip:{model}"
    folder = Path(_vocabulary(hub).name)
    words["hf_tokenizer_name"] = str(folder)
    if "hf_model_name" in words:
        words["hf_model_name"] = str(folder)
    (folder / f"offline-{model}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"offline-{model}.json")
    return f"open_clip:offline-{model}"


@cache
def _vocabulary(hub: str) -> tempfile.TemporaryDirectory[str]:
    """A folder with a small tokenizer of the kind that a repository of the hub has."""
    made = tempfile.TemporaryDirectory(prefix="vtloc-vocabulary-")
    folder = Path(made.name)
    if hub.startswith(("xlm-roberta", "facebook/xlm-v")):
        tiny_towers.write_xlm_roberta(folder, **(_XLM_R_BASE if hub == "xlm-roberta-base" else {}))
    elif "SigLIP2" in hub:
        tiny_towers.write_gemma(folder)
    else:
        tiny_towers.write_t5(folder)
    return made


_XLM_R_BASE = {
    "vocab_size": 250_002, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "max_position_embeddings": 514,
}  # fmt: skip
