"""Convolutions as they run after training: parallel branches and batch norms merged into them.

MobileCLIP's towers are trained with several branches to a convolution, and with a batch norm
behind most of them. Merged, they give the same numbers with a part of the work, and leave no batch
norm whose statistics half precision would have to hold.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.utils import fuse_conv_bn_eval


def merge_branches(tower: nn.Module) -> nn.Module:
    """Merge what a tower's convolutions were trained with, in place.

    Args:
        tower: An image tower; it is switched to evaluation.
    """
    tower.eval()
    if any(hasattr(module, "reparameterize") for module in tower.modules()):
        from timm.utils.model import reparameterize_model

        tower = reparameterize_model(tower, inplace=True)
    for module in tower.modules():
        block: Any = module
        convolution, norm = getattr(block, "conv", None), getattr(block, "bn", None)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            block.conv = fuse_conv_bn_eval(convolution, norm)
            # timm's batch norm holds the activation that follows it.
            block.bn = getattr(norm, "act", nn.Identity())
    return tower
