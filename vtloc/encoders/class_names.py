"""The names of the ImageNet classes as points in the sentences' space."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import Tokenizer
from torch import Tensor

from vtloc.encoders.minilm import load_minilm
from vtloc_runtime.errors import MissingExtraError

_BATCH = 100


def class_names() -> tuple[str, ...]:
    """The 1,000 class names in the order of the classifier's outputs."""
    try:
        # Every torchvision classifier carries the list in its metadata; nothing is downloaded.
        from torchvision.models import MobileNet_V2_Weights
    except ImportError as error:
        raise MissingExtraError.of(
            "torchvision", extra="export", purpose="naming the ImageNet classes"
        ) from error
    return tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])


@cache
def class_embeddings() -> Tensor:
    """Sentence embeddings of the class names, float32 [1000, 384], each of unit length."""
    encoder = load_minilm()
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    tokenizer.enable_padding(pad_id=encoder.pad_id)
    names = class_names()
    embedded: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(names), _BATCH):
            encoded = tokenizer.encode_batch(list(names[first : first + _BATCH]))
            ids = torch.tensor([item.ids for item in encoded])
            mask = torch.tensor([item.attention_mask for item in encoded], dtype=torch.bool)
            embedded.append(encoder(ids, mask)[1])
    return torch.cat(embedded).clone()
