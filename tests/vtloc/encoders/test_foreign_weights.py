"""Weights from elsewhere: damaged, of another kind, or made to do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct

import pytest
import torch

open_clip = pytest.importorskip("open_clip")

from safetensors.torch import save  # noqa: E402 - after the skip

from tests.support.tiny_encoders import TINY_CLIP  # noqa: E402
from vtloc.encoders import load_text_encoder, load_visual_encoder  # noqa: E402
from vtloc.errors import EncoderError  # noqa: E402


class Harm:
    """What a hostile pickle holds: a call that leaves a folder behind."""

    def __init__(self, place) -> None:
        self.place = str(place)

    def __reduce__(self):
        return os.mkdir, (self.place,)


@pytest.fixture(scope="module")
def weights(tiny_clip):
    """The tensors of a tiny CLIP by their names."""
    return open_clip.create_model(tiny_clip).state_dict()


@pytest.fixture
def refusal(tiny_clip, tmp_path):
    """A function that has a file's content loaded, and gives the one line that refuses it."""

    def load(name, content):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(EncoderError) as caught:
            load_visual_encoder(f"open_clip:{tiny_clip}:{path}")
        message = str(caught.value)
        assert f"cannot load {path}: " in message
        assert "\n" not in message
        return message

    return load


def as_pickle(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.safetensors", b"", "it is empty"),
        ("a.pt", b"", "it is empty"),
        ("a.safetensors", b"<!DOCTYPE html><html>404</html>", "it is a web page"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS's pointer"),
        ("a.safetensors", struct.pack("<Q", 1 << 62) + b"{}", "it is damaged (Error while"),
        ("a.safetensors", b"not a checkpoint", "it is damaged (Error while"),
        ("a.pt", as_pickle([1, 2]), "it holds no weights by their names"),
        ("a.pt", as_pickle({}), "it holds no weights by their names"),
        ("a.pt", as_pickle(torch.zeros(3)), "it holds no weights by their names"),
        ("a.pt", as_pickle({1: torch.zeros(3)}), "it holds no weights by their names"),
    ],
)
def test_what_is_no_checkpoint_is_named(refusal, name, content, fault):
    message = refusal(name, content)
    assert fault in message
    assert "again" in message


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_part_of_a_download_is_refused(refusal, weights, share):
    for name, content in (("a.safetensors", save(weights)), ("a.pt", as_pickle(weights))):
        assert "it is damaged" in refusal(name, content[: int(len(content) * share)])


@pytest.mark.parametrize("name", ["a.pt", "a.bin", "a.npz", "a.npy"])
def test_a_pickle_never_runs_code(refusal, tmp_path, name):
    place = tmp_path / "harm"
    refusal(name, pickle.dumps(Harm(place)))
    refusal(name, as_pickle({"state_dict": Harm(place)}))
    assert not place.exists()


def test_numbers_that_are_none_are_refused(refusal, weights):
    for number in (float("nan"), float("inf")):
        spoiled = {name: values.clone() for name, values in weights.items()}
        spoiled["visual.conv1.weight"][0] = number
        message = refusal("a.safetensors", save(spoiled))
        assert "visual.conv1.weight holds numbers that are not finite" in message


def test_whole_numbers_are_not_taken_for_weights(refusal, weights):
    rounded = {name: values.to(torch.int8) for name, values in weights.items()}
    assert "holds int8 in place of floating numbers" in refusal("a.safetensors", save(rounded))


def test_weights_in_other_floating_types_are_taken(tiny_clip, weights, tmp_path):
    path = tmp_path / "double.safetensors"
    path.write_bytes(save({name: values.double() for name, values in weights.items()}))
    encoder = load_visual_encoder(f"open_clip:{tiny_clip}:{path}")
    loaded = encoder.state_dict()["tower.conv1.weight"]
    assert torch.equal(loaded, weights["visual.conv1.weight"])


def test_a_folder_in_a_files_place_is_named(tiny_clip, tmp_path):
    with pytest.raises(EncoderError, match=f"is a folder.*open_clip:local-dir:{tmp_path}"):
        load_visual_encoder(f"open_clip:{tiny_clip}:{tmp_path}")


def write_folder(folder, weights, *, text=(), preprocess=()):
    model = {**TINY_CLIP, "text_cfg": {**TINY_CLIP["text_cfg"], **dict(text)}}
    scaling = {"mean": [0.5] * 3, "std": [0.5] * 3, **dict(preprocess)}
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": model, "preprocess_cfg": scaling})
    )
    (folder / "open_clip_model.safetensors").write_bytes(save(weights))


@pytest.mark.parametrize(
    ("asks", "fault"),
    [(True, "code of its own, which is never run"), (None, "cannot load its tokenizer")],
)
def test_the_code_that_a_folder_brings_is_never_run(weights, tmp_path, asks, fault):
    pytest.importorskip("transformers")
    arguments = {} if asks is None else {"trust_remote_code": asks}
    write_folder(
        tmp_path, weights, text={"hf_tokenizer_name": "own", "tokenizer_kwargs": arguments}
    )
    classes = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(classes))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "own.py").write_text(
        f"import os\nos.mkdir({str(tmp_path / 'harm')!r})\nclass Own:\n    pass\n"
    )
    with pytest.raises(EncoderError, match=fault) as caught:
        load_text_encoder(f"open_clip:local-dir:{tmp_path}")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "scaling", [{"mean": "x"}, {"mean": [0.5] * 4}, {"std": [0, 1, 1]}, {"std": [1, 1, None]}]
)
def test_pictures_that_cannot_be_scaled_are_refused(weights, tmp_path, scaling):
    write_folder(tmp_path, weights, preprocess=scaling)
    with pytest.raises(EncoderError, match="its pictures cannot be scaled by the"):
        load_visual_encoder(f"open_clip:local-dir:{tmp_path}")


def test_a_hugging_face_folder_with_other_weights_is_refused(tiny_bert, tmp_path):
    # Transformers itself would make up what is missing.
    from safetensors.torch import load_file, save_file

    for file in tiny_bert.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    tensors = load_file(tiny_bert / "model.safetensors")
    kept = {name: values for name, values in tensors.items() if "layer.0.attention" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="its weights are of another model: they lack"):
        load_text_encoder(f"hf:{tmp_path}")
