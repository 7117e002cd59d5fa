"""Names of open_clip's models, and weights that run as they were trained."""

from __future__ import annotations

import json

import pytest
import torch

open_clip = pytest.importorskip("open_clip")

from tests.support.tiny_encoders import TINY_CLIP  # noqa: E402 - after the skip
from vtloc.encoders import load_encoders, load_visual_encoder  # noqa: E402
from vtloc.encoders.open_clip_source import read_source  # noqa: E402
from vtloc.errors import EncoderError  # noqa: E402


@pytest.fixture(scope="module")
def weights(tiny_clip, tmp_path_factory):
    """A checkpoint of the tiny CLIP."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "open_clip_model.safetensors"
    from safetensors.torch import save_file

    save_file(open_clip.create_model(tiny_clip).state_dict(), path)
    return path


@pytest.fixture
def tags(tiny_clip, monkeypatch):
    """The tiny CLIP with a pretrained tag of SigLIP's scaling and another GELU."""
    from open_clip import pretrained

    tag = {
        "url": "", "hf_hub": "nobody/nothing/", "mean": (0.5,) * 3, "std": (0.5,) * 3,
        "interpolation": "bilinear", "resize_mode": "squash", "quick_gelu": True,
    }  # fmt: skip
    monkeypatch.setitem(pretrained._PRETRAINED, tiny_clip, {"trained": tag})
    return tiny_clip


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("MODEL", ("MODEL", None, None)),
        ("MODEL:trained", ("MODEL", "trained", None)),
        ("MODEL:FILE", ("MODEL", None, "FILE")),
        ("MODEL:trained:FILE", ("MODEL", "trained", "FILE")),
        ("local-dir:FOLDER", ("local-dir:FOLDER", None, None)),
        ("hf-hub:timm/PE-Core-B-16", ("hf-hub:timm/PE-Core-B-16", None, None)),
    ],
)
def test_a_name_says_where_the_weights_come_from(tags, weights, text, read):
    def filled(word):
        if word is None:
            return None
        folder = str(weights.parent)
        return word.replace("MODEL", tags).replace("FILE", str(weights)).replace("FOLDER", folder)

    source = read_source(filled(text))
    assert (source.model, source.tag, source.file) == tuple(filled(word) for word in read)
    assert source.name == f"open_clip:{filled(text)}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ViT-B32", "no model 'ViT-B32'; near it are ViT-B-32"),
        ("vit-b-32:openai", "no model 'vit-b-32'; near it are ViT-B-32"),
        ("ViT-B-32:opnai", "no tag 'opnai'; near it are openai"),
        ("ViT-B-32:/nowhere/weights.pt", "there is no file /nowhere/weights.pt"),
        ("ViT-B-32:openai:/nowhere/weights.pt", "there is no file /nowhere/weights.pt"),
        ("local-dir:/nowhere", "there is no folder '/nowhere'. "),
        ("local-dir:", "there is no folder ''. "),
        ("Nothing-like-it", "no model 'Nothing-like-it'. "),
        ("", "no model ''. "),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(text, fault):
    with pytest.raises(EncoderError) as caught:
        read_source(text)
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_run_with_the_activation_of_their_training(tags, weights):
    encoder = load_visual_encoder(f"open_clip:{tags}:trained:{weights}")
    kinds = {type(module).__name__ for module in encoder.modules()}
    assert "QuickGELU" in kinds
    assert "GELU" not in kinds
    plain = load_visual_encoder(f"open_clip:{tags}:{weights}")
    assert "QuickGELU" not in {type(module).__name__ for module in plain.modules()}


def test_pictures_are_scaled_as_in_the_training_wherever_weights_come_from(tags, weights):
    for name in (f"open_clip:{tags}:trained:{weights}", f"open_clip:{tags}:{weights}"):
        encoder = load_visual_encoder(name)
        assert encoder.preprocessing.resize == "squash"
        assert encoder.preprocessing.interpolation == "bilinear"
        torch.testing.assert_close(encoder.offset, torch.full((3,), -1.0))


def test_a_tag_that_cannot_be_fetched_says_what_to_do_offline(tags, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("open_clip.factory.download_pretrained", unreachable)
    with pytest.raises(EncoderError) as caught:
        load_visual_encoder(f"open_clip:{tags}:trained")
    message = str(caught.value)
    assert "cannot be fetched" in message
    assert "https://huggingface.co/nobody/nothing" in message
    assert f"open_clip:{tags}:trained:/path/to/" in message
    assert "\n" not in message


def test_a_checkpoint_of_another_model_is_refused(tiny_clip, weights, tmp_path):
    wider = json.loads(json.dumps(TINY_CLIP))
    wider["vision_cfg"]["width"] = 96
    (tmp_path / "tiny-wider.json").write_text(json.dumps(wider))
    open_clip.add_model_config(tmp_path)
    with pytest.raises(EncoderError, match="its weights are of another model") as caught:
        load_visual_encoder(f"open_clip:tiny-wider:{weights}")
    assert "\n" not in str(caught.value)


def test_a_checkpoint_for_other_pictures_is_refused(tiny_clip, weights, tmp_path):
    # open_clip would stretch its positions to the new size, which is another network.
    larger = json.loads(json.dumps(TINY_CLIP))
    larger["vision_cfg"]["image_size"] = 64
    (tmp_path / "tiny-larger.json").write_text(json.dumps(larger))
    open_clip.add_model_config(tmp_path)
    with pytest.raises(EncoderError, match="its weights are of another model"):
        load_visual_encoder(f"open_clip:tiny-larger:{weights}")


def test_a_damaged_checkpoint_is_refused(tiny_clip, tmp_path):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(EncoderError, match=r"cannot load .*damaged\.safetensors"):
        load_visual_encoder(f"open_clip:{tiny_clip}:{path}")


def test_pictures_that_are_not_square_are_refused(tiny_clip, tmp_path):
    oblong = json.loads(json.dumps(TINY_CLIP))
    oblong["vision_cfg"]["image_size"] = [32, 64]
    (tmp_path / "tiny-oblong.json").write_text(json.dumps(oblong))
    open_clip.add_model_config(tmp_path)
    with pytest.raises(EncoderError, match="its pictures are not square: 32x64"):
        load_visual_encoder("open_clip:tiny-oblong")


def test_a_folder_as_on_the_hub_is_loaded(tiny_clip, weights, tmp_path):
    config = {
        "model_cfg": TINY_CLIP,
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "squash"},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    (tmp_path / "open_clip_model.safetensors").write_bytes(weights.read_bytes())
    visual, text = load_encoders(*[f"open_clip:local-dir:{tmp_path}"] * 2)
    assert visual.preprocessing.resize == "squash"
    assert text.max_tokens == 24
    from_file = load_visual_encoder(f"open_clip:{tiny_clip}:{weights}")
    kept, wanted = (one.state_dict()["tower.conv1.weight"] for one in (visual, from_file))
    assert torch.equal(kept, wanted)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(EncoderError, match="cannot load it") as caught:
        load_visual_encoder(f"open_clip:local-dir:{tmp_path}")
    assert "\n" not in str(caught.value)
