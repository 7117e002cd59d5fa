"""The ImageNet classes in words, and as points in the sentences' space."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import Tokenizer
from torch import Tensor

from vtloc.encoders.interface import normalised
from vtloc.encoders.minilm import load_minilm
from vtloc_runtime.errors import MissingExtraError

_BATCH = 100


def class_names() -> tuple[str, ...]:
    """The 1,000 class names in the order of the classifier's outputs.

    Raises:
        MissingExtraError: torchvision is not installed.
    """
    try:
        # Torchvision keeps the list in a private module; its public way also loads a model's
        # weights enumeration, which holds the very same list.
        from torchvision.models import MobileNet_V2_Weights
    except ImportError as error:
        raise MissingExtraError.for_package(
            "torchvision", extra="export", purpose="naming the ImageNet classes"
        ) from error
    return tuple(MobileNet_V2_Weights.IMAGENET1K_V1.meta["categories"])


def class_synonyms() -> tuple[tuple[str, ...], ...]:
    """What WordNet calls each class, its lemmas, in the order of the classifier's outputs."""
    return tuple(tuple(entry.partition(": ")[0].split(", ")) for entry in _class_entries())


@cache
def class_embeddings() -> Tensor:
    """Sentence embeddings of the classes, float32 [1000, 384], each of unit length.

    Half of each is the class's name, half its entry in WordNet, ``lemmas: definition``. A name
    alone says little ("cock", "crane", "notebook"): the entry says which thing is meant.
    """
    names, entries = embed_texts(class_names()), embed_texts(_class_entries())
    return normalised(names + entries)


def _class_entries() -> tuple[str, ...]:
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError as error:
        raise MissingExtraError.for_package(
            "timm", extra="export", purpose="describing the ImageNet classes"
        ) from error
    return tuple(ImageNetInfo("imagenet-1k").label_descriptions(detailed=True))


def embed_texts(texts: tuple[str, ...]) -> Tensor:
    """Sentence vectors of the default text encoder, float32 [texts, 384], of unit length."""
    encoder = load_minilm()
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    tokenizer.enable_padding(pad_id=encoder.pad_id)
    # Texts of one length at a time: padding costs as much as words.
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    embedded: list[Tensor] = []
    with torch.inference_mode():
        for first in range(0, len(texts), _BATCH):
            encoded = tokenizer.encode_batch([texts[i] for i in order[first : first + _BATCH]])
            ids = torch.tensor([item.ids for item in encoded])
            mask = torch.tensor([item.attention_mask for item in encoded], dtype=torch.bool)
            embedded.append(encoder(ids, mask)[1])
    return torch.cat(embedded)[torch.tensor(order).argsort()].clone()
