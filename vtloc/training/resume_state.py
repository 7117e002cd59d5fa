"""The state between two epochs: all that a killed run needs to go on as if it had not been."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtloc.tensor_file import json_entry, parse_tensors, read_whole, write_tensors
from vtloc_runtime.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_FORMAT = "vtloc-training-state"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far training came.

    Attributes:
        epochs: Epochs done.
        steps: Steps done.
        best_epoch: The epoch with the best validation mIoU, counted from zero; -1 before any.
        best_score: That mIoU, percent.
    """

    epochs: int = 0
    steps: int = 0
    best_epoch: int = -1
    best_score: float = -1.0


def save_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
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
) -> Progress:
    """Bring network and optimizer to where a run stood.

    Raises:
        CheckpointError: The file is damaged, or belongs to a run configured otherwise.
    """
    tensors, header = parse_tensors(read_whole(path, CheckpointError), path, CheckpointError)
    if header.get("format") != _FORMAT:
        raise CheckpointError("the file is no state of a training run", where=path)
    found = json_entry(header, "settings", path, CheckpointError)
    wanted = json.loads(json.dumps(settings))
    if found != wanted:
        changed = sorted(k for k in found.keys() | wanted.keys() if found.get(k) != wanted.get(k))
        raise CheckpointError(
            f"the run was configured otherwise ({', '.join(changed)})",
            where=path,
            remedy="Choose another folder, or remove the old run",
        )
    try:
        progress = Progress(**json_entry(header, "progress", path, CheckpointError))
        network.load_state_dict(_under("network/", tensors))
        for name, weight in network.named_parameters():
            values = _under(f"optimizer/{name}/", tensors)
            optimizer.state[weight] = {
                # Adam keeps its count of steps on the CPU, wherever the weights lie.
                key: value if key == "step" else value.to(weight.device)
                for key, value in values.items()
            }
    except (TypeError, RuntimeError) as error:
        raise CheckpointError(f"the state does not fit the network: {error}", where=path) from error
    return progress


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
