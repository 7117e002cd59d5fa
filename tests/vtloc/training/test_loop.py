"""The loop: it learns, stops early, and goes on after a kill as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtloc.errors import CheckpointError, ConfigurationError
from vtloc.evaluation.prediction import evaluate_network
from vtloc.model import LocalizerConfig, LossConfig, load_checkpoint
from vtloc.model.samples import Sample
from vtloc.tensor_file import parse_tensors
from vtloc.training import TrainingConfig, TrainingListener, seeded_network, train
from vtloc.training.loop import EpochReport
from vtloc.training.metrics_log import MetricsJournal, plot_curves
from vtloc_runtime.errors import BackendError
from vtloc_runtime.localize.spans.moments import Moment

WIDTH = 16
CONFIG = LocalizerConfig(
    feature_dim=WIDTH,
    token_dim=WIDTH,
    hidden_dim=16,
    scale_dim=8,
    capsules=2,
    capsule_dim=8,
    attention_heads=2,
    shared_space=(0, WIDTH),
)
SHORT = TrainingConfig(epochs=3, batch_size=4, learning_rate=1e-2)


class Timelines:
    """Samples made up on the spot: one stretch of frames looks like the sentence."""

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.size

    def epoch(self, number: int) -> Iterator[Sample]:
        chance = np.random.default_rng((self.seed, number))
        for index in range(self.size):
            frames = int(chance.integers(8, 14))
            start = int(chance.integers(0, frames - 4))
            end = start + int(chance.integers(2, 5))
            concept = chance.normal(size=WIDTH)
            features = 0.3 * chance.normal(size=(frames, WIDTH))
            features[start:end] += concept
            tokens = concept + 0.2 * chance.normal(size=(3, WIDTH))
            yield Sample.evenly(
                str(index),
                features.astype(np.float32),
                tokens.astype(np.float32),
                (Moment(start, end, 1.0),),
            )


def run(folder: Path, config: TrainingConfig = SHORT, **options):
    return train(
        seeded_network(CONFIG, seed=config.seed),
        options.pop("source", Timelines(24, seed=0)),
        Timelines(8, seed=1),
        folder=folder,
        visual_encoder="v",
        text_encoder="t",
        config=config,
        **options,
    )


class StopAfter(TrainingListener):
    """As a kill does, raises in the middle of an epoch."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def stepped(self, epoch: int, step: int, steps: int, loss: float) -> None:
        if (epoch, step) == self.at:
            raise KeyboardInterrupt


def final_state(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "state.safetensors"
    return parse_tensors(path.read_bytes(), path, CheckpointError)[0]


def test_training_learns_from_a_source_that_makes_its_samples_up(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=6, batch_size=8, learning_rate=3e-3)
    untrained = evaluate_network(seeded_network(CONFIG, seed=0), Timelines(8, seed=1).epoch(0))
    result = run(tmp_path, config, source=Timelines(160, seed=0))
    assert result.best_score > max(60.0, untrained.mean_iou + 20)
    best = load_checkpoint(result.checkpoint)
    again = evaluate_network(best.network, Timelines(8, seed=1).epoch(0))
    assert again.mean_iou == pytest.approx(result.best_score)
    assert (best.visual_encoder, best.text_encoder) == ("v", "t")


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    first, second = (run(tmp_path / name).checkpoint.read_bytes() for name in "ab")
    other = run(tmp_path / "c", replace(SHORT, seed=1)).checkpoint.read_bytes()
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("schedule", "at"), [("constant", (0, 2)), ("constant", (2, 6)), ("cosine", (1, 1))]
)
def test_a_run_that_was_stopped_ends_with_the_same_bits(
    tmp_path: Path, schedule, at: tuple[int, int]
) -> None:
    config = replace(SHORT, schedule=schedule, warmup_steps=5, gradient_clip=1.0)
    losses = LossConfig(diversity_from_epoch=1)
    whole = run(tmp_path / "whole", config, losses=losses)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", config, losses=losses, listener=StopAfter(*at))
    resumed = run(tmp_path / "cut", config, losses=losses)
    assert resumed.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    first, second = final_state(tmp_path / "whole"), final_state(tmp_path / "cut")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_process_resumes_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL, nothing caught: in the middle of the second epoch."""
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from tests.vtloc.training import test_loop
        class Kill(test_loop.TrainingListener):
            def stepped(self, epoch, step, steps, loss):
                if (epoch, step) == (1, 3):
                    os.kill(os.getpid(), signal.SIGKILL)
        test_loop.run(Path({str(tmp_path / "killed")!r}), listener=Kill())
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(MetricsJournal(tmp_path / "killed" / "metrics.jsonl").read()) == 1
    resumed, whole = run(tmp_path / "killed"), run(tmp_path / "whole")
    assert resumed.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert resumed.epochs == whole.epochs == 3


def test_metrics_have_a_line_an_epoch_even_after_a_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, listener=StopAfter(1, 2))
    # A crash between the journal and the state leaves a line of an epoch that does not count.
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"epoch": 1, "loss": 0}) + '\n{"epoch": 2, "lo')
    run(tmp_path)
    rows = MetricsJournal(tmp_path / "metrics.jsonl").read()
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert all(row["loss"] > 0 and 0 <= row["validation"]["mIoU"] <= 100 for row in rows)


def test_a_run_that_has_ended_is_not_trained_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    heard: list[EpochReport] = []

    class Listener(TrainingListener):
        def finished_epoch(self, report: EpochReport) -> None:
            heard.append(report)

    assert run(tmp_path, listener=Listener()) == first
    assert heard == []


def test_training_stops_when_validation_stops_getting_better(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=50, batch_size=4, learning_rate=1e-12, patience=2)
    result = run(tmp_path, config)
    assert (result.best_epoch, result.epochs) == (0, 3)


def test_a_folder_of_another_run_is_not_taken_over(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(CheckpointError, match=r"training.learning_rate is .* there and 0.001 here"):
        run(tmp_path, replace(SHORT, learning_rate=1e-3))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_finished_run_can_be_lengthened_and_moved(tmp_path: Path, schedule) -> None:
    config = replace(SHORT, schedule=schedule)
    assert run(tmp_path, config).epochs == 3
    longer = replace(config, epochs=5, patience=7, device="auto")
    result = run(tmp_path, longer)
    assert result.epochs == 5
    rows = MetricsJournal(tmp_path / "metrics.jsonl").read()
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3, 4]
    assert result.best_score == max(row["validation"]["mIoU"] for row in rows)
    # Asked for less, it gives what it has.
    assert run(tmp_path, config) == result


def test_what_a_constant_schedule_adds_is_what_a_longer_run_does(tmp_path: Path) -> None:
    longer = replace(SHORT, epochs=4)
    run(tmp_path / "short")
    extended, whole = run(tmp_path / "short", longer), run(tmp_path / "whole", longer)
    assert extended.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        run(tmp_path)


def test_broken_features_stop_training_with_a_word(tmp_path: Path) -> None:
    class Broken(Timelines):
        def epoch(self, number: int) -> Iterator[Sample]:
            for sample in super().epoch(number):
                sample.features[0] = np.nan
                yield sample

    with pytest.raises(ConfigurationError, match="no longer finite"):
        run(tmp_path, source=Broken(8, seed=0))


def test_errors_of_a_source_come_through(tmp_path: Path) -> None:
    class Failing(Timelines):
        def epoch(self, number: int) -> Iterator[Sample]:
            yield from list(super().epoch(number))[:5]
            raise ConfigurationError("the source broke")

    with pytest.raises(ConfigurationError, match="the source broke"):
        run(tmp_path, source=Failing(8, seed=0))


def test_nothing_to_learn_from_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no sample"):
        run(tmp_path, source=Timelines(0, seed=0))


def test_a_device_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="device"):
        run(tmp_path, replace(SHORT, device="quantum"))


def test_curves_are_drawn(tmp_path: Path) -> None:
    run(tmp_path)
    plot_curves(MetricsJournal(tmp_path / "metrics.jsonl"), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_mixed_precision_trains_float32_weights(tmp_path: Path) -> None:
    result = run(tmp_path, replace(SHORT, precision="bf16"))
    rows = MetricsJournal(tmp_path / "metrics.jsonl").read()
    assert rows[-1]["loss"] < rows[0]["loss"]
    weights = load_checkpoint(result.checkpoint).network.state_dict().values()
    assert {weight.dtype for weight in weights} == {torch.float32}


@pytest.mark.gpu
def test_a_run_on_a_gpu_resumes_and_learns(tmp_path: Path) -> None:
    config = replace(SHORT, device="cuda")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, config, listener=StopAfter(1, 2))
    result = run(tmp_path, config)
    rows = MetricsJournal(tmp_path / "metrics.jsonl").read()
    assert result.epochs == len(rows) == 3
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate", "patience"])
def test_impossible_training_is_refused(field: str) -> None:
    wrong: dict[str, Any] = {field: 0}
    with pytest.raises(ConfigurationError, match=field):
        TrainingConfig(**wrong)


def test_seeded_networks_leave_the_worlds_chance_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    seeded_network(CONFIG, seed=0)
    assert torch.equal(torch.rand(1), expected)
