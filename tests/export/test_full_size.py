"""Public frame and text towers at full size, with random weights."""

from __future__ import annotations

import os

import pytest

from tests.support import full_size
from vtloc.encoders import load_text_encoder, load_visual_encoder
from vtloc.model import LocalizerConfig, LocalizerNetwork
from vtloc_export.network_export import export_network
from vtloc_export.networks import network_widths

pytestmark = pytest.mark.slow

on_request = pytest.mark.skipif(
    not os.environ.get("VTLOC_TEST_SLOW"), reason="VTLOC_TEST_SLOW is not set; see make test-slow"
)


# Half precision is where most can go wrong.
@pytest.mark.parametrize(
    "precision",
    [pytest.param("fp32", marks=on_request), "fp16", pytest.param("compact", marks=on_request)],
)
def test_vit_b_32_is_exported_in_every_precision(precision, tmp_path):
    name = "open_clip:ViT-B-32"
    visual, text = load_visual_encoder(name), load_text_encoder(name)
    localizer = LocalizerNetwork(LocalizerConfig(feature_dim=512, token_dim=512)).eval()
    widths = network_widths(localizer, visual, text)
    # Bounds are checked inside; sizes show that the weights are stored as they should be.
    frames = export_network("visual", visual, widths["visual"], precision, tmp_path)
    words = export_network("text", text, widths["text"], precision, tmp_path)
    parameters = sum(parameter.numel() for parameter in visual.parameters())
    low, high = {"fp32": (4, 4.1), "fp16": (2, 2.05), "compact": (1, 1.2)}[precision]
    assert low * parameters * 0.98 < frames.files.size < high * parameters
    assert words.parity


@on_request
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", full_size.FRAME_TOWERS)
def test_a_public_frame_tower_is_exported(model, precision, tmp_path):
    visual = load_visual_encoder(f"open_clip:{model}")
    widths = {"size": visual.preprocessing.size, "feature": visual.dimension}
    exported = export_network("visual", visual, widths, precision, tmp_path)
    assert exported.islands == ()
    assert exported.files.size > 0


@on_request
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", full_size.TEXT_TOWERS)
def test_a_public_text_tower_is_exported(model, precision, tmp_path):
    text = load_text_encoder(full_size.encoder_name(model))
    widths = {
        "token": text.token_dimension,
        "sentence": text.sentence_dimension,
        "max_tokens": text.max_tokens,
        "vocabulary": text.vocabulary,
    }
    exported = export_network("text", text, widths, precision, tmp_path)
    assert exported.islands == ()
    assert exported.files.size > 0
