"""Every form that the localizer can be given leaves PyTorch, and is proved on the way."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vtloc.model import LocalizerNetwork
from vtloc_export.network_export import export_network

# Together they turn every switch; alone, each costs a whole export.
FORMS = {
    "tokens shared out, as printed": {
        "coupling": "frames",
        "agreement": "printed",
        "fusion": "additive",
        "similarity_channels": False,
        "blocks_after_fusion": 0,
    },
    "nothing shared out, the classic way": {
        "coupling": "independent",
        "agreement": "votes",
        "sentence_pooling": "last",
        "normalize_inputs": False,
    },
    "transformer": {"multiscale": False, "routing": False, "transformer_layers": 1},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_exported_and_keeps_its_answers(form, modules, widths, tmp_path):
    torch.manual_seed(4)
    module = LocalizerNetwork(replace(modules["localizer"].config, **form)).eval()
    exported = export_network("localizer", module, widths["localizer"], "fp16", tmp_path)
    checked = {parity.output for parity in exported.parity}
    assert checked == {"start_logits", "end_logits", "alignment"}
    assert min(parity.worst.cosine for parity in exported.parity) > 0.999


WEIGHING = """
import re, sys
from pathlib import Path
import torch
from vtloc_export.network_export import export_network

def most():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

class Tower(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(48, width), torch.nn.Linear(width, width))

    def forward(self, frames):
        return torch.nn.functional.normalize(self.layers(frames.flatten(1).float() / 255), dim=-1)

def export(width):
    tower = Tower(width).eval()
    before = most()
    export_network("visual", tower, {"size": 4, "feature": width}, "fp32", Path(sys.argv[1]))
    return most() - before, sum(weight.nbytes for weight in tower.parameters())

export(64)
grown, weights = export(6144)
print(grown / weights)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_an_export_holds_few_copies_of_the_weights(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WEIGHING, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert float(done.stdout) < 4
