"""The state between two epochs: all that a killed run needs to go on as if it had not been."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from vtloc.errors import CheckpointError
from vtloc.tensor_file import json_entry, parse_tensors, read_whole, write_tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_FORMAT = "vtloc-training-state"


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """How far training came.

    Attributes:
        epochs: Epochs done.
        best_epoch: The epoch with the best validation mIoU, counted from zero; -1 before any.
        best_score: That mIoU, percent.
    """

    epochs: int = 0
    best_epoch: int = -1
    best_score: float = -1.0


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: TrainingProgress,
    settings: dict[str, Any],
) -> None:
    """Write weights, optimizer and progress.

    Args:
        path: The file.
        network: Its weights are kept as they are.
        optimizer: Its moments are kept by the weights' names.
        progress: How far training came.
        settings: What the run was configured with; another configuration may not resume it.

    Raises:
        OutputError: The file cannot be written.
    """
    tensors: dict[str, Tensor] = {f"network/{k}": v for k, v in network.state_dict().items()}
    for name, weight in network.named_parameters():
        for key, value in optimizer.state[weight].items():
            tensors[f"optimizer/{name}/{key}"] = value
    header = {
        "format": _FORMAT,
        "progress": json.dumps(asdict(progress)),
        "settings": json.dumps(settings, sort_keys=True),
    }
    write_tensors(path, tensors, header)


def load_state(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> TrainingProgress:
    """Bring network and optimizer to where a run stopped.

    Raises:
        CheckpointError: The file is damaged, or belongs to a run configured otherwise.
    """
    tensors, header = parse_tensors(read_whole(path, CheckpointError), path, CheckpointError)
    if header.get("format") != _FORMAT:
        raise CheckpointError("the file is not the state of a training run", where=path)
    found = json_entry(header, "settings", path, CheckpointError)
    changed = _differences(json.loads(json.dumps(settings)), found)
    if changed:
        raise CheckpointError(
            f"the folder holds a run with other settings: {'; '.join(changed)}",
            where=path,
            remedy="Choose another folder, or remove the old run",
        )
    try:
        progress = msgspec.convert(
            json_entry(header, "progress", path, CheckpointError), TrainingProgress
        )
        network.load_state_dict(_under("network/", tensors))
        for name, weight in network.named_parameters():
            values = _under(f"optimizer/{name}/", tensors)
            optimizer.state[weight] = {
                # Adam keeps its count of steps on the CPU, wherever the weights lie.
                key: value if key == "step" else value.to(weight.device)
                for key, value in values.items()
            }
    except (TypeError, RuntimeError, msgspec.ValidationError) as error:
        raise CheckpointError(
            f"the state does not fit the network: {' '.join(str(error).split())[:200]}", where=path
        ) from error
    return progress


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Fields that are set now and differ from those of the stored run."""
    changed = []
    for section, fields in wanted.items():
        stored = found.get(section)
        before = stored if isinstance(stored, dict) else {}
        changed += [
            f"{section}.{name} is {before.get(name)!r} there and {value!r} here"
            for name, value in fields.items()
            if before.get(name) != value
        ]
    return changed


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
