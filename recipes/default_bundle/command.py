"""Train the default bundle's localizer: the command behind ``make default-bundle``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from recipes.default_bundle.recipe import Recipe
from recipes.default_bundle.source import TEXT_ENCODER, VISUAL_ENCODER, Encoders, TimelineSource
from vtloc.model import load_checkpoint
from vtloc.training import seeded_network, train
from vtloc.training.progress import ProgressDisplay
from vtloc_runtime.cli.console.program import new_application, run_program

if TYPE_CHECKING:
    from vtloc.model import LocalizerNetwork
    from vtloc.training import TrainingListener, TrainingResult

TRAINING_DATA = (
    "synthetic timelines: around EfficientNet-Lite0's class prototypes, asked for with words of "
    "WordNet and of the project's own table of kinds and scenes, and of sentences from the "
    "project's own grammar; no photographs, no videos, no captions"
)

_VALIDATION_SEED = 2

ROUTING_AT_FIRST = 0.1
"""How much of what fresh routing gives a trained network gets to see."""

app = new_application(add_completion=False)


@app.command()
def default_bundle(
    out: Annotated[
        Path, typer.Option(help="Folder for the checkpoint and the metrics; a run goes on there.")
    ] = Path("runs/default-bundle"),
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML recipe; by default the shipped bundle's own.")
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(help="A checkpoint to start from, as `beginning.toml` makes it."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Use this seed, not the recipe's.")] = None,
) -> None:
    """Train the default bundle's localizer on synthetic timelines."""
    chosen = Recipe.read(recipe)
    if seed is not None:
        chosen = replace(chosen, training=replace(chosen.training, seed=seed))
    with ProgressDisplay(Console(stderr=True)) as display:
        result = train_default(chosen, out, start=start, listener=display)
    typer.echo(result.checkpoint)


def train_default(
    recipe: Recipe,
    folder: Path,
    *,
    start: Path | None = None,
    encoders: Encoders | None = None,
    listener: TrainingListener | None = None,
) -> TrainingResult:
    """Train by a recipe; called again after a kill, it goes on.

    Args:
        recipe: Every choice.
        folder: Where the checkpoint and the metrics go.
        start: A checkpoint whose weights are taken over, as far as the network has them; what is
            new in the network begins small. None starts from chance.
        encoders: The default bundle's encoders, where they are loaded already.
        listener: Hears of steps and epochs.

    Raises:
        VtlocError: Weights are missing, or as `vtloc.training.train` says.
    """
    loaded = encoders or Encoders.load()
    seed = recipe.training.seed
    source = TimelineSource(
        loaded,
        "training",
        seed=seed,
        samples=recipe.timelines.samples,
        config=recipe.composition,
        footage=recipe.footage,
        described=recipe.described,
    )
    validation = TimelineSource(
        loaded,
        "held-out",
        seed=_VALIDATION_SEED,
        samples=recipe.timelines.validation,
        config=replace(recipe.composition, absent=0.0),
        footage=recipe.footage,
        described=replace(recipe.described, absent=0.0, topics=recipe.described.topics // 10),
    )
    config = recipe.localizer_config(
        feature_dim=loaded.visual.dimension,
        token_dim=loaded.text.token_dimension,
        shared_space=loaded.shared_space,
    )
    network = seeded_network(config, seed=seed)
    if start is not None:
        take_over(network, load_checkpoint(start).network)
    return train(
        network,
        source,
        validation,
        folder=folder,
        visual_encoder=VISUAL_ENCODER,
        text_encoder=TEXT_ENCODER,
        config=recipe.training,
        losses=recipe.losses,
        metadata={
            "name": f"vtloc {recipe.name}",
            "license": "Apache-2.0",
            "training_data": TRAINING_DATA,
            "decoding": msgspec.json.encode(recipe.decoding).decode(),
            "windows": msgspec.json.encode(recipe.windows).decode(),
        },
        listener=listener,
    )


def take_over(network: LocalizerNetwork, older: LocalizerNetwork) -> None:
    """Give a network the weights of another; routing that the other lacks begins small.

    Args:
        network: Changed in place.
        older: A network of the same widths, with or without routing.
    """
    weights = network.state_dict()
    known = older.state_dict()
    for name in weights.keys() & known.keys():
        weights[name] = known[name]
    if older.routing is None and network.routing is not None:
        weights["routing.output.weight"] = weights["routing.output.weight"] * ROUTING_AT_FIRST
    network.load_state_dict(weights)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave with its exit code.

    Args:
        arguments: What follows the program's name; None reads it from the process.
    """
    run_program(app, "recipes.default_bundle", arguments, extra="default-bundle")
