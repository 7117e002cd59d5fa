"""Checkpoints: what comes back, and what is refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vtloc.errors import CheckpointError
from vtloc.model import load_checkpoint, save_checkpoint
from vtloc.tensor_file import parse_tensors, write_tensors
from vtloc_runtime.errors import OutputError


@pytest.fixture
def saved(tmp_path: Path, config, build) -> Path:
    path = tmp_path / "localizer.safetensors"
    save_checkpoint(
        path, build(config), visual_encoder="v", text_encoder="t", metadata={"data": "none"}
    )
    return path


def rewrite(path: Path, **header: str | None) -> None:
    """Change fields of a checkpoint's header; None removes one."""
    weights, found = parse_tensors(path.read_bytes(), path, CheckpointError)
    kept = {key: text for key, text in {**found, **header}.items() if text is not None}
    write_tensors(path, weights, kept)


def test_everything_comes_back(saved: Path, config, batch, build) -> None:
    found = load_checkpoint(saved)
    assert found.config == config
    assert (found.visual_encoder, found.text_encoder) == ("v", "t")
    assert found.metadata == {"data": "none"}
    assert found.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    assert not found.network.training
    both = found.network(*batch.inputs()), build(config)(*batch.inputs())
    assert all(torch.equal(*pair) for pair in zip(*both, strict=True))


def test_the_same_network_gives_the_same_bytes(saved: Path, config, build) -> None:
    again = saved.with_name("again.safetensors")
    save_checkpoint(
        again, build(config), visual_encoder="v", text_encoder="t", metadata={"data": "none"}
    )
    assert again.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("text", ["{", "7"])
def test_a_header_that_is_no_object_is_refused(saved: Path, text: str) -> None:
    weights, _ = parse_tensors(saved.read_bytes(), saved, CheckpointError)
    saved.write_bytes(safetensors.torch.save(weights, metadata={"vtloc": text}))
    with pytest.raises(CheckpointError, match="header is damaged"):
        load_checkpoint(saved)


def test_no_half_written_file_stays_behind(saved: Path) -> None:
    assert [file.name for file in saved.parent.iterdir()] == [saved.name]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read"):
        load_checkpoint(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    cut = saved.with_name("cut.safetensors")
    cut.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="damaged or not in safetensors"):
        load_checkpoint(cut)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(place=st.integers(0, 6000), value=st.integers(0, 255))
def test_a_damaged_header_loads_alike_or_is_refused(saved: Path, place: int, value: int) -> None:
    content = bytearray(saved.read_bytes())
    content[place % len(content)] = value
    damaged = saved.with_name("damaged.safetensors")
    damaged.write_bytes(content)
    try:
        found = load_checkpoint(damaged)
    except CheckpointError:
        return
    assert found.network.state_dict().keys()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a pickle in a zip", b"\x80\x04}\x94."])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_someone_elses_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(safetensors.torch.save({"w": torch.ones(2)}))
    with pytest.raises(CheckpointError, match="not a checkpoint of a localizer"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"schema": "2"}, "schema '2'"),
        ({"configuration": "{"}, "no valid 'configuration'"),
        ({"configuration": "[]"}, "not an object"),
        ({"configuration": "{}"}, "feature_dim"),
        ({"configuration": None}, "no valid 'configuration'"),
        ({"visual_encoder": None}, "lacks visual_encoder"),
        ({"metadata": "7"}, "not an object"),
    ],
)
def test_damaged_headers_are_refused(saved: Path, header, message: str) -> None:
    rewrite(saved, **header)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


@pytest.mark.parametrize("change", [{"hidden_dim": 32}, {"capsules": 1 << 16}, {"routing": False}])
def test_weights_must_fit_the_configuration(saved: Path, config, change) -> None:
    rewrite(saved, configuration=json.dumps({**config.to_json(), **change}))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_checkpoint(saved)


@pytest.mark.parametrize("name", ["capsules", "transformer_layers", "routing_iterations"])
def test_absurd_sizes_are_refused_at_once(saved: Path, config, name: str) -> None:
    rewrite(saved, configuration=json.dumps({**config.to_json(), name: 1 << 62}))
    with pytest.raises(CheckpointError, match=f"{name} must be"):
        load_checkpoint(saved)


def test_weights_must_be_finite(tmp_path: Path, config, build) -> None:
    network = build(config)
    with torch.no_grad():
        network.head.output.bias[0] = float("nan")
    path = tmp_path / "broken.safetensors"
    save_checkpoint(path, network, visual_encoder="v", text_encoder="t", metadata={})
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, config, build) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_checkpoint(
            blocked / "x.safetensors",
            build(config),
            visual_encoder="v",
            text_encoder="t",
            metadata={},
        )
