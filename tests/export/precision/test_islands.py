"""Towers that half precision cannot hold: islands where that helps, a refusal by name elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch

from vtloc_export.errors import ExportError
from vtloc_export.network_export import export_network

BLOCK = "tower.transformer.resblocks.1"


@pytest.fixture
def visual(modules):
    return copy.deepcopy(modules["visual"])


def test_a_layer_that_overflows_becomes_an_island(visual, widths, tmp_path):
    # Its numbers in FP32 stay as they were: what the first layer gains, the second takes back.
    hidden, output = visual.get_submodule(f"{BLOCK}.mlp.c_fc"), visual.get_submodule(f"{BLOCK}.mlp")
    with torch.no_grad():
        hidden.weight *= 1e6
        hidden.bias *= 1e6
        output.c_proj.weight *= 1e-6
    exported = export_network("visual", visual, widths["visual"], "fp16", tmp_path)
    assert exported.islands == (f"{BLOCK}.mlp",)
    assert min(parity.worst.cosine for parity in exported.parity) > 0.9999
    assert all(f"{BLOCK}.mlp" not in item.layer for item in exported.ranges)


def test_a_tower_that_overflows_throughout_is_refused_by_its_first_layer(visual, widths, tmp_path):
    with torch.no_grad():
        visual.tower.ln_pre.weight *= 1e7
    with pytest.raises(ExportError, match=r"ln_pre.* overflows"):
        export_network("visual", visual, widths["visual"], "fp16", tmp_path)


def test_a_tower_that_fits_has_no_islands(visual, widths, tmp_path):
    assert export_network("visual", visual, widths["visual"], "fp16", tmp_path).islands == ()
