"""The PyTorch networks of a bundle: two encoders, and a localizer where it has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtloc.encoders import (
    is_encoder_name,
    load_encoders,
    names_share_a_space,
    share_a_space,
)
from vtloc_export.errors import ExportError

if TYPE_CHECKING:
    import torch

    from vtloc.encoders import TextEncoder, VisualEncoder
    from vtloc_export.sources import ExportSource
    from vtloc_runtime.bundle.manifest import NetworkName, SharedSpace


@dataclass(frozen=True, slots=True)
class BundleNetworks:
    """The networks that a bundle is exported from, and compared with.

    Attributes:
        visual: The frame encoder.
        text: The text encoder.
        localizer: The localizer; None where the encoders answer by similarity alone.
    """

    visual: VisualEncoder
    text: TextEncoder
    localizer: torch.nn.Module | None = None

    @property
    def modules(self) -> dict[NetworkName, torch.nn.Module]:
        """Every network by its name, in the order in which they run."""
        found: dict[NetworkName, torch.nn.Module] = {"visual": self.visual, "text": self.text}
        if self.localizer is not None:
            found["localizer"] = self.localizer
        return found

    @property
    def widths(self) -> dict[NetworkName, Mapping[str, int]]:
        """The lengths of every network's fixed axes, by network and name."""
        return network_widths(self.localizer, self.visual, self.text)

    @property
    def shared_space(self) -> SharedSpace | None:
        """The columns of a frame's features that compare with sentences; None without any."""
        shared = self.visual.shared_space
        config: Any = getattr(self.localizer, "config", None)
        trained = config is not None and config.shared_space is not None
        if shared is None or not (trained or share_a_space(self.visual, self.text)):
            return None
        fits = shared.stop - shared.start == self.text.sentence_dimension
        return shared if fits else None


def load_networks(source: ExportSource) -> BundleNetworks:
    """Load the encoders of a source, and check that its parts fit each other.

    Raises:
        EncoderError: An encoder cannot be loaded.
        ExportError: The localizer reads other widths, or there is none and the encoders share no
            space.
    """
    if source.network is None:
        _check_names(source)
    visual, text = load_encoders(source.visual_encoder, source.text_encoder)
    networks = BundleNetworks(visual, text, source.network)
    if source.network is None:
        if networks.shared_space is None:
            raise _apart(source)
        return networks
    config = source.network.config
    for what, wanted, name, given in (
        ("features", config.feature_dim, visual.name, visual.dimension),
        ("tokens", config.token_dim, text.name, text.token_dimension),
    ):
        if wanted != given:
            raise ExportError(
                f"the localizer reads {what} of width {wanted}, {name} gives {given}",
                where=source.name,
                remedy="Train it on this encoder, or name the one that it was trained on",
            )
    return networks


def network_widths(
    localizer: torch.nn.Module | None, visual: VisualEncoder, text: TextEncoder
) -> dict[NetworkName, Mapping[str, int]]:
    """The lengths of every network's fixed axes, by network and name.

    Args:
        localizer: The localizer, or None.
        visual: The frame encoder.
        text: The text encoder.
    """
    widths: dict[NetworkName, Mapping[str, int]] = {
        "visual": {"size": visual.preprocessing.size, "feature": visual.dimension},
        "text": {
            "token": text.token_dimension,
            "sentence": text.sentence_dimension,
            "max_tokens": text.max_tokens,
            "vocabulary": text.vocabulary,
        },
    }
    if localizer is not None:
        config: Any = localizer.config
        widths["localizer"] = {
            "feature": visual.dimension,
            "token": text.token_dimension,
            "hidden": int(config.hidden_dim),
        }
    return widths


def _check_names(source: ExportSource) -> None:
    """Refuse encoders that share no space before either is fetched."""
    visual, text = source.visual_encoder, source.text_encoder
    known = is_encoder_name(visual) and is_encoder_name(text)
    if known and not names_share_a_space(visual, text):
        raise _apart(source)


def _apart(source: ExportSource) -> ExportError:
    return ExportError(
        f"frames of {source.visual_encoder} and sentences of {source.text_encoder} share no "
        "space, so without a localizer they cannot be compared",
        where=source.name,
        remedy="Take both from one model, or train a localizer on them with: vtloc train",
    )
