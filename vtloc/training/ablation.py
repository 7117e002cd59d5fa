"""The paper's tables as runs: several configurations, several seeds, one table.

An ablation is a TOML file of arms. Arms differ in fields of the localizer, the losses and the
training, or in the features that they name. Every arm sees the same data, budget and seeds.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vtloc.config_files import configure, read_toml
from vtloc.errors import ConfigurationError
from vtloc.evaluation.prediction import evaluate_network
from vtloc.evaluation.table import Row
from vtloc.model import LossConfig, load_checkpoint
from vtloc.training import TrainingConfig, seeded_network, train

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vtloc.evaluation.metrics import Scores
    from vtloc.model import LocalizerConfig
    from vtloc.model.samples import SampleSource
    from vtloc.training import TrainingListener


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One configuration of an ablation.

    Attributes:
        name: For the table.
        localizer: Fields of `LocalizerConfig` that it sets.
        losses: Fields of `LossConfig` that it sets.
        training: Fields of `TrainingConfig` that it sets.
        frames: Label of its frame features; None takes the default ones.
        tokens: Label of its token features; None takes the default ones.
        paper: The paper's figures by frame encoder and column, percent.
    """

    name: str
    localizer: dict[str, Any] = field(default_factory=dict)
    losses: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    frames: str | None = None
    tokens: str | None = None
    paper: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """A table of arms.

    Attributes:
        title: For the table.
        arms: In the order of the table.
    """

    title: str
    arms: tuple[Arm, ...]

    @classmethod
    def read(cls, name: str | Path) -> Ablation:
        """Read an ablation.

        Args:
            name: A TOML file, or the name of one that ships with the project (``components``,
                ``text``, ``backbone``, ``design``).

        Raises:
            ConfigurationError: There is none, or it is not valid.
        """
        folder = Path(str(files("vtloc.training") / "recipes" / "ablations"))
        shipped = {file.stem: file for file in folder.glob("*.toml")}
        path = shipped.get(str(name), Path(name))
        if not path.exists():
            raise ConfigurationError(
                "the ablation does not exist",
                where=path,
                remedy=f"Give a TOML file, or one of: {', '.join(sorted(shipped))}",
            )
        values = read_toml(path)
        arms = values.get("arms")
        if not isinstance(arms, list) or not arms:
            raise ConfigurationError("the ablation has no arms", where=path)
        return cls(
            title=str(values.get("title", path.stem)),
            arms=tuple(configure(Arm, arm, where=f"{path} arm {i}") for i, arm in enumerate(arms)),
        )


@dataclass(frozen=True, slots=True)
class ArmData:
    """What an arm is trained on.

    Attributes:
        source: What to learn from, for a seed.
        validation: What chooses the best epoch.
        test: What the table judges by; the validation, where there is no other.
        localizer: From the arm's fields to its whole configuration.
        visual_encoder: Name of the frame encoder.
        text_encoder: Name of the text encoder.
    """

    source: Callable[[int], SampleSource]
    validation: SampleSource
    test: SampleSource
    localizer: Callable[[Mapping[str, Any]], LocalizerConfig]
    visual_encoder: str
    text_encoder: str


@dataclass(frozen=True, slots=True)
class ArmResult:
    """What became of an arm.

    Attributes:
        arm: The arm.
        scores: Of each seed; empty where its features were not given.
    """

    arm: Arm
    scores: tuple[Scores, ...]

    def rows(self) -> list[Row]:
        """The arm's lines: its mean over the seeds, their spread, and the paper's figures."""
        rows = []
        if self.scores:
            columns: dict[str, list[float]] = defaultdict(list)
            for row in (Row.from_scores(self.arm.name, scores) for scores in self.scores):
                for column, value in row.values.items():
                    columns[column].append(value)
            means = {column: float(np.mean(values)) for column, values in columns.items()}
            rows.append(Row(f"{self.arm.name}", means))
            if len(self.scores) > 1:
                spread = {k: float(np.std(values, ddof=1)) for k, values in columns.items()}
                rows.append(Row(f"  deviation over {len(self.scores)} seeds", spread))
        else:
            rows.append(Row(f"{self.arm.name} (not run: no features given)", {}))
        rows.extend(
            Row(f"  the paper's, {encoder}", figures) for encoder, figures in self.arm.paper.items()
        )
        return rows


def run_ablation(
    ablation: Ablation,
    prepare: Callable[[Arm], ArmData | None],
    *,
    folder: Path,
    seeds: Sequence[int] = (0,),
    training: TrainingConfig | None = None,
    losses: LossConfig | None = None,
    listener: TrainingListener | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[ArmResult]:
    """Train every arm with every seed; what was trained already in ``folder`` is not again.

    Args:
        ablation: The arms.
        prepare: An arm's data, or None where its features were not given.
        folder: A folder an arm and seed goes here.
        seeds: Every arm is trained with each.
        training: What all arms share; None is the paper's recipe.
        losses: What all arms share; None is the paper's.
        listener: Hears of steps and epochs.
        progress: Called with the arm and seed that starts.

    Raises:
        VtlocError: As `vtloc.training.train` says.
    """
    results = []
    for arm in ablation.arms:
        data = prepare(arm)
        if data is None:
            results.append(ArmResult(arm, ()))
            continue
        scores: list[Scores] = []
        for seed in seeds:
            progress(f"{arm.name}, seed {seed}")
            budget = asdict(training or TrainingConfig()) | arm.training | {"seed": seed}
            terms = asdict(losses or LossConfig()) | arm.losses
            found = _run_arm(
                arm,
                data,
                folder / _folder_name(arm.name) / f"seed-{seed}",
                config=configure(TrainingConfig, budget, where=arm.name),
                losses=configure(LossConfig, terms, where=arm.name),
                listener=listener,
            )
            scores.append(found)
        results.append(ArmResult(arm, tuple(scores)))
    return results


def _run_arm(
    arm: Arm,
    data: ArmData,
    folder: Path,
    *,
    config: TrainingConfig,
    losses: LossConfig,
    listener: TrainingListener | None,
) -> Scores:
    result = train(
        seeded_network(data.localizer(arm.localizer), seed=config.seed),
        data.source(config.seed),
        data.validation,
        folder=folder,
        visual_encoder=data.visual_encoder,
        text_encoder=data.text_encoder,
        config=config,
        losses=losses,
        metadata={"ablation": arm.name},
        listener=listener,
    )
    best = load_checkpoint(result.checkpoint).network
    return evaluate_network(
        best, data.test.epoch(0), strategy=config.strategy, batch_size=config.batch_size
    )


def _folder_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
