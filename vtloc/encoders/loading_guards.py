"""What libraries may not do while they load a model: chat, wait for the hub, or run its code."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from vtloc.errors import EncoderError

_STRETCHERS = ("resize_pos_embed", "resize_text_pos_embed")
_RUNNERS = ("get_class_in_module", "_raise_timeout_error")
"""Functions of transformers that import a model's own code, or give up asking whether they may."""


class OtherModelError(Exception):
    """Weights of a model with other tensors."""


class UnusableWeightsError(Exception):
    """Numbers that no model computes with; the message says which."""


@contextmanager
def quietly() -> Iterator[None]:
    """Let nothing be logged: open_clip logs every step of a failure that becomes one error here."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def strict_weights() -> Iterator[None]:
    """Refuse weights that open_clip would stretch to another length, or round, without a word."""
    from open_clip import factory

    untyped: Any = factory
    stretchers = {name: getattr(untyped, name) for name in _STRETCHERS}

    def check(state: Any, model: Any, *_: Any, **__: Any) -> None:
        own = model.state_dict()
        for name, values in state.items():
            if name not in own:
                continue
            if "pos" in name and values.shape != own[name].shape:
                raise OtherModelError(name)
            if own[name].is_floating_point() and not values.is_floating_point():
                kind = str(values.dtype).removeprefix("torch.")
                raise UnusableWeightsError(f"{name} holds {kind} in place of floating numbers")

    for name in stretchers:
        setattr(untyped, name, check)
    try:
        yield
    finally:
        for name, function in stretchers.items():
            setattr(untyped, name, function)


def check_finite(model: Any) -> None:
    """Refuse a model whose weights are not all numbers.

    Raises:
        UnusableWeightsError: One is infinite or not a number.
    """
    for name, values in model.state_dict().items():
        if values.is_floating_point() and not values.isfinite().all():
            raise UnusableWeightsError(f"{name} holds numbers that are not finite")


@contextmanager
def without_foreign_code(name: str) -> Iterator[None]:
    """Refuse the code that a model's folder or repository brings along, even if that asks for it.

    Args:
        name: The encoder's name, for the message.

    Raises:
        EncoderError: The model needs such code.
    """
    try:
        from transformers import dynamic_module_utils
    except ImportError:
        yield
        return

    def refuse(*_: Any, **__: Any) -> None:
        raise EncoderError(
            "it comes with code of its own, which is never run",
            where=name,
            remedy="Use a model that transformers knows without it",
        )

    untyped: Any = dynamic_module_utils
    kept = {one: getattr(untyped, one) for one in (*_RUNNERS, "TIME_OUT_REMOTE_CODE")}
    for one in _RUNNERS:
        setattr(untyped, one, refuse)
    untyped.TIME_OUT_REMOTE_CODE = 0  # else it asks on the terminal
    try:
        yield
    finally:
        for one, value in kept.items():
            setattr(untyped, one, value)


@contextmanager
def not_waiting() -> Iterator[None]:
    """Ask the hub for nothing where its host has no address: it would be tried for a minute."""
    from huggingface_hub import constants

    host = urlsplit(constants.ENDPOINT).hostname or ""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not (getproxies() or _has_address(host))
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _has_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False
