"""Tiny encoders for the tests of this folder."""

from __future__ import annotations

import pytest

from tests.support import tiny_encoders


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory):
    """Name of a tiny CLIP that open_clip knows."""
    pytest.importorskip("open_clip")
    return tiny_encoders.register_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """Directory of a tiny BERT."""
    pytest.importorskip("transformers")
    return tiny_encoders.write_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory):
    """Directory of a tiny RoBERTa."""
    pytest.importorskip("transformers")
    return tiny_encoders.write_tiny_roberta(tmp_path_factory.mktemp("roberta"))
