"""How well answers match annotations: recall, mean IoU, average precision, and what is blind."""

from vtloc.evaluation.baselines import best_constant_window, constant_window, whole_video
from vtloc.evaluation.metrics import Scores, average_precision, score

__all__ = [
    "Scores",
    "average_precision",
    "best_constant_window",
    "constant_window",
    "score",
    "whole_video",
]
