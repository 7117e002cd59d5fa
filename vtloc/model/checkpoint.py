"""Checkpoints: weights as safetensors, everything else as text in the same file's header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from vtloc.errors import CheckpointError, ConfigurationError
from vtloc.model.config import LocalizerConfig
from vtloc.model.localizer import LocalizerNetwork
from vtloc.tensor_file import json_entry, parse_tensors, read_whole, write_tensors

_FORMAT = "vtloc-localizer"
_SCHEMA = "1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained localizer, and what it goes with.

    Attributes:
        network: The localizer, in eval mode on the CPU.
        config: Its configuration.
        visual_encoder: Name of the frame encoder, as `vtloc.encoders` takes it.
        text_encoder: Name of the text encoder.
        metadata: Free text by name: training data, measured accuracy, licence.
        sha256: Hash of the file, lower-case hex.
    """

    network: LocalizerNetwork
    config: LocalizerConfig
    visual_encoder: str
    text_encoder: str
    metadata: Mapping[str, str]
    sha256: str


def save_checkpoint(
    path: str | Path,
    network: LocalizerNetwork,
    *,
    visual_encoder: str,
    text_encoder: str,
    metadata: Mapping[str, str],
) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one, never half of one.

    Args:
        path: The file to write, ``.safetensors`` by custom.
        network: The localizer; its weights are stored as float32.
        visual_encoder: Name of the frame encoder it was trained on.
        text_encoder: Name of the text encoder it was trained on.
        metadata: Free text by name.

    Raises:
        OutputError: The file cannot be written.
    """
    weights = {name: weight.float() for name, weight in network.state_dict().items()}
    header = {
        "format": _FORMAT,
        "schema": _SCHEMA,
        "configuration": json.dumps(network.config.to_json(), sort_keys=True),
        "visual_encoder": visual_encoder,
        "text_encoder": text_encoder,
        "metadata": json.dumps(dict(metadata), sort_keys=True),
    }
    write_tensors(Path(path), weights, header)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, of another kind or schema, or its weights
            do not fit its configuration.
    """
    place = Path(path)
    content = read_whole(place, CheckpointError)
    weights, header = parse_tensors(content, place, CheckpointError)
    if header.get("format") != _FORMAT:
        raise CheckpointError(
            "the file is not a checkpoint of a localizer",
            where=place,
            remedy=f"If it holds an encoder's weights, name the model: open_clip:MODEL:TAG:{place}",
        )
    if header.get("schema") != _SCHEMA:
        raise CheckpointError(
            f"the checkpoint has schema {header.get('schema')!r}; this version reads {_SCHEMA}",
            where=place,
            remedy="Use the vtloc that wrote it, or train again",
        )
    if missing := {"visual_encoder", "text_encoder"} - header.keys():
        raise CheckpointError(f"the header lacks {', '.join(sorted(missing))}", where=place)
    network = _build(json_entry(header, "configuration", place, CheckpointError), weights, place)
    metadata = json_entry(header, "metadata", place, CheckpointError)
    return Checkpoint(
        network=network,
        config=network.config,
        visual_encoder=header["visual_encoder"],
        text_encoder=header["text_encoder"],
        metadata={name: str(text) for name, text in metadata.items()},
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _build(
    configuration: Mapping[str, object], weights: Mapping[str, Tensor], place: Path
) -> LocalizerNetwork:
    try:
        config = LocalizerConfig.from_json(configuration)
    except ConfigurationError as error:
        raise CheckpointError(f"the configuration is not valid: {error}", where=place) from error
    # On the meta device first: a configuration that lies about its size must not cost memory.
    with torch.device("meta"):
        expected = {k: tuple(v.shape) for k, v in LocalizerNetwork(config).state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    if wrong := sorted(
        name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
    ):
        name = wrong[0]
        raise CheckpointError(
            f"{len(wrong)} weights do not fit the configuration; {name} is "
            f"{found.get(name, 'missing')}, not {expected.get(name, 'part of it')}",
            where=place,
        )
    if broken := sorted(name for name, weight in weights.items() if not weight.isfinite().all()):
        raise CheckpointError(f"{broken[0]} holds values that are not finite", where=place)
    network = LocalizerNetwork(config)
    network.load_state_dict(dict(weights))
    return network.eval()
