"""Every form that the localizer can be given leaves PyTorch, and is proved on the way."""

from __future__ import annotations

from dataclasses import replace

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
