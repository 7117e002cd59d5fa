"""Text towers from Hugging Face: BERT, RoBERTa, and any directory of that kind."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from vtloc.encoders.interface import TextEncoder, masked_mean, normalised
from vtloc.encoders.loading_guards import check_finite, without_foreign_code
from vtloc.errors import EncoderError
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.text import first_line

_MOST_TOKENS = 512
_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_NO_LIMIT = 10**9
"""Transformers marks an unknown length with a number far above this."""


class HuggingFaceEncoder(TextEncoder):
    """A transformer's last hidden states, and their masked mean as the sentence.

    Args:
        model: The transformer.
        tokenizer: Its tokenizer, as the ``tokenizers`` library holds it.
        name: The encoder's name.
        max_tokens: Longest sentence, special tokens included.
        pad_id: The padding token's id.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Tokenizer, *, name: str, max_tokens: int, pad_id: int
    ) -> None:
        super().__init__()
        config: Any = model.config
        self.name = name
        self.token_dimension = int(config.hidden_size)
        self.sentence_dimension = self.token_dimension
        self.max_tokens = max_tokens
        self.vocabulary = int(config.vocab_size)
        self.pad_id = pad_id
        self.model = model
        self._tokenizer = tokenizer
        self._first_position = first_position(model)
        self._accepted = frozenset(inspect.signature(model.forward).parameters)
        self.freeze()

    def tokenizer_json(self) -> str:
        """The tokenizer, truncating at ``max_tokens`` and never padding."""
        tokenizer = Tokenizer.from_str(self._tokenizer.to_str())
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return str(tokenizer.to_str())

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode sentences, int64 [B, N] and bool [B, N]; see ``TextEncoder.forward``."""
        inputs: dict[str, Any] = {
            "input_ids": token_ids,
            # Four axes, ready to broadcast: no mask is built from data inside the model.
            "attention_mask": token_mask[:, None, None, :],
            "position_ids": self._positions(token_mask),
            "token_type_ids": torch.zeros_like(token_ids),
            "return_dict": True,
        }
        accepted = {name: value for name, value in inputs.items() if name in self._accepted}
        tokens: Tensor = self.model(**accepted).last_hidden_state
        return tokens, normalised(masked_mean(tokens, token_mask))

    def _positions(self, token_mask: Tensor) -> Tensor:
        # Counted from the mask, so that neither the padding's id nor its amount plays a part.
        count = torch.cumsum(token_mask.to(torch.int64), dim=1)
        if self._first_position == 0:
            return (count - 1).clamp_min(0)
        return torch.where(token_mask, count + (self._first_position - 1), self._first_position - 1)


def first_position(model: nn.Module) -> int:
    """The position of a sentence's first token.

    RoBERTa and its kin keep the padding id's row of the position table for padding, and start to
    count behind it; everything else starts at zero.
    """
    embeddings = getattr(model, "embeddings", None)
    table = getattr(embeddings, "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def load_huggingface(source: str, *, name: str | None = None) -> HuggingFaceEncoder:
    """A text encoder from a local directory, or from the local cache or hub by its name.

    Args:
        source: A directory with ``config.json``, weights and tokenizer, or a model's name.
        name: The encoder's name; ``hf:SOURCE`` where none is given.

    Raises:
        MissingExtraError: transformers is not installed.
        EncoderError: The model is not found, or cannot serve as a text encoder.
    """
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError.for_package(
            "transformers", extra="export", purpose="a Hugging Face encoder"
        ) from error
    _check_tokenizer_files(Path(source))
    try:
        with _quietly(), without_foreign_code(f"hf:{source}"):
            model, found = AutoModel.from_pretrained(
                source, attn_implementation="sdpa", dtype=torch.float32, output_loading_info=True
            )
            check_finite(model)
            wrapped = AutoTokenizer.from_pretrained(source, use_fast=True)
    except EncoderError:
        raise
    except Exception as error:
        raise EncoderError(
            f"cannot load it: {first_line(error)}",
            where=f"hf:{source}",
            remedy="Give a directory that holds config.json, the weights and tokenizer.json",
        ) from error
    # Transformers fills up with random numbers what a file lacks; nobody reads the pooler.
    if lacking := sorted(one for one in found["missing_keys"] if "pooler" not in one):
        raise EncoderError(
            f"its weights are of another model: they lack {lacking[0]}",
            where=f"hf:{source}",
            remedy="Put the weights of the model there that config.json describes",
        )
    if not getattr(wrapped, "is_fast", False):
        raise EncoderError(
            "it has no fast tokenizer, and only those run without Python", where=f"hf:{source}"
        )
    if getattr(model.config, "is_encoder_decoder", False) or not hasattr(
        model.config, "hidden_size"
    ):
        raise EncoderError(
            f"a {model.config.model_type} model is not a text encoder",
            where=f"hf:{source}",
            remedy="Use an encoder such as BERT or RoBERTa",
        )
    if "add_pooling_layer" in inspect.signature(type(model).__init__).parameters:
        model.pooler = None  # never read, and not to be exported
    if wrapped.pad_token_id is None:
        raise EncoderError("its tokenizer names no padding token", where=f"hf:{source}")
    return HuggingFaceEncoder(
        model,
        wrapped.backend_tokenizer,
        name=name or f"hf:{source}",
        max_tokens=_longest(model, int(wrapped.model_max_length), source),
        pad_id=int(wrapped.pad_token_id),
    )


def _check_tokenizer_files(folder: Path) -> None:
    # Without its files, transformers makes up an empty tokenizer that knows no word.
    if folder.is_dir() and not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise EncoderError(
            "the directory contains no tokenizer",
            where=f"hf:{folder}",
            remedy="Put the model's tokenizer.json there",
        )


@contextmanager
def _quietly() -> Iterator[None]:
    # Transformers reports every unused weight and draws bars; neither is news here.
    from transformers.utils import logging as untyped

    logging: Any = untyped
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _longest(model: nn.Module, announced: int, source: str) -> int:
    config: Any = model.config
    limits = [_MOST_TOKENS]
    if announced < _NO_LIMIT:
        limits.append(announced)
    if positions := getattr(config, "max_position_embeddings", 0):
        limits.append(int(positions) - first_position(model))
    sentence = Path(source) / "sentence_bert_config.json"
    if sentence.is_file():
        try:
            limits.append(int(json.loads(sentence.read_bytes())["max_seq_length"]))
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise EncoderError("it names no max_seq_length", where=sentence) from error
    return min(limits)
