"""open_clip's models by name, and their weights: none, a pretrained tag's, or a file's."""

from __future__ import annotations

import difflib
import logging
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from vtloc.errors import EncoderError
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.text import first_line

_SELF_DESCRIBED = ("local-dir:", "hf-hub:")
"""Models that a folder or a repository describes, weights and tokenizer included."""
_PICTURE = ("mean", "std", "interpolation", "resize_mode")
_NEAREST = 3
_STRETCHERS = ("resize_pos_embed", "resize_text_pos_embed")
_QUIET = 1e-3
"""Standard deviation of weights that training has not reached yet."""


@dataclass(frozen=True, slots=True)
class OpenClipSource:
    """A model of open_clip and where its weights come from.

    Attributes:
        name: The encoder's whole name, ``open_clip:`` included.
        model: open_clip's name of the model, or ``local-dir:FOLDER``, or ``hf-hub:NAME``.
        tag: The pretrained tag that the weights are of; None for random ones and for files.
        file: The file that they are read from; None where open_clip fetches them.
    """

    name: str
    model: str
    tag: str | None = None
    file: str | None = None

    @property
    def described(self) -> bool:
        """Whether a folder or a repository describes the model."""
        return self.model.startswith(_SELF_DESCRIBED)


def read_source(text: str) -> OpenClipSource:
    """Read what follows ``open_clip:`` in an encoder's name.

    Args:
        text: ``MODEL``, ``MODEL:TAG``, ``MODEL:FILE``, ``MODEL:TAG:FILE``, ``local-dir:FOLDER`` or
            ``hf-hub:NAME``.

    Raises:
        EncoderError: open_clip has no such model or tag, or there is no such file.
        MissingExtraError: open_clip is not installed.
    """
    name = f"open_clip:{text}"
    if text.startswith(_SELF_DESCRIBED):
        return OpenClipSource(name, text)
    open_clip = import_open_clip()
    model, _, weights = text.partition(":")
    known = open_clip.list_models()
    if model not in known:
        raise EncoderError(
            f"open_clip has no model {model!r}{_suggested(model, known)}",
            where=name,
            remedy="List some of them with: vtloc-export models",
        )
    if not weights:
        return OpenClipSource(name, model)
    tags = open_clip.list_pretrained_tags_by_model(model)
    tag, _, file = weights.partition(":")
    if tag not in tags:
        tag, file = "", weights
    if file and not os.path.isfile(file):  # noqa: PTH113 - false where a name cannot be a path
        looks_like_path = "/" in file or "." in file
        fault = f"there is no file {file}" if looks_like_path or tag else f"it has no tag {file!r}"
        raise EncoderError(
            fault + ("" if looks_like_path else _suggested(file, tags)),
            where=name,
            remedy=f"Name a local checkpoint, or one of its tags: {', '.join(tags[:12]) or 'none'}",
        )
    return OpenClipSource(name, model, tag or None, file or None)


def create_model(source: OpenClipSource) -> Any:
    """Make a model and load its weights.

    Random weights are the same every time. Weights of a tag are run with the activation and the
    picture's scaling that they were trained with, wherever they are read from.

    Args:
        source: Which model and which weights.

    Raises:
        EncoderError: The weights cannot be fetched or do not fit the model.
        MissingExtraError: open_clip is not installed.
    """
    open_clip = import_open_clip()
    trained = _training_settings(source)
    try:
        with _quietly(), _not_waiting(), _unstretched(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = open_clip.create_model(
                source.model,
                pretrained=source.file or source.tag,
                pretrained_text=False,
                force_custom_text=True,
                force_quick_gelu=bool(trained.get("quick_gelu")),
                force_preprocess_cfg={
                    key: trained[key] for key in _PICTURE if trained.get(key) is not None
                },
                require_pretrained=source.described or (source.file or source.tag) is not None,
            )
            if not source.described and (source.file or source.tag) is None:
                _rouse_head(model)
            return model
    except Exception as error:
        raise _load_error(source, error) from error


def _rouse_head(model: Any) -> None:
    """Give random features a length: timm starts heads near zero, below half precision's range."""
    head = getattr(getattr(model.visual, "trunk", None), "head", None)
    if isinstance(head, torch.nn.Linear) and float(head.weight.std()) < _QUIET:
        torch.nn.init.normal_(head.weight, std=head.in_features**-0.5)


def create_tokenizer(source: OpenClipSource) -> Any:
    """The tokenizer that open_clip feeds the model's text tower with.

    Raises:
        EncoderError: It cannot be fetched.
    """
    open_clip = import_open_clip()
    try:
        with _quietly(), _not_waiting():
            return open_clip.get_tokenizer(source.model)
    except Exception as error:
        raise EncoderError(
            f"cannot load its tokenizer: {first_line(error)}",
            where=source.name,
            remedy="Without a network, copy the model's folder from the Hugging Face hub, which "
            "holds its tokenizer, and name it: open_clip:local-dir:/path/to/folder",
        ) from error


def import_open_clip() -> Any:
    """The package.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError.for_package(
            "open_clip", extra="export", purpose="an open_clip encoder"
        ) from error
    return open_clip


def _training_settings(source: OpenClipSource) -> Mapping[str, Any]:
    """How the weights were trained, as open_clip's list of tags has it.

    open_clip itself only warns where weights that were trained with another GELU meet a model, and
    scales pictures in its own default way where weights come from a file.
    """
    if source.described:
        return {}
    open_clip = import_open_clip()
    if source.tag:
        return dict(open_clip.get_pretrained_cfg(source.model, source.tag))
    tags = open_clip.list_pretrained_tags_by_model(source.model)
    configs = [open_clip.get_pretrained_cfg(source.model, tag) for tag in tags]
    # A file's weights may be any tag's: what all of them have in common holds for it too.
    return {
        key: configs[0].get(key)
        for key in _PICTURE
        if configs and all(config.get(key) == configs[0].get(key) for config in configs)
    }


def _load_error(source: OpenClipSource, error: Exception) -> EncoderError:
    reason = first_line(error)
    if source.file:
        if isinstance(error, _OtherSizeError) or "state_dict" in str(error):
            reason = "its weights are of another model"
        return EncoderError(
            f"cannot load {source.file}: {reason}",
            where=source.name,
            remedy=f"Name the model that the file was saved from, instead of {source.model}",
        )
    if source.model.startswith("hf-hub:"):
        return EncoderError(
            "its repository cannot be fetched, and is not in the cache",
            where=source.name,
            remedy="Without a network, copy the repository's folder and name it: "
            "open_clip:local-dir:/path/to/folder",
        )
    if source.tag is None:
        return EncoderError(
            f"cannot load it: {reason}",
            where=source.name,
            remedy="Give a folder with open_clip_config.json and the weights, or a model's name",
        )
    hub = str(_training_settings(source).get("hf_hub") or "").partition("/")
    place = "/".join([hub[0], hub[2].partition("/")[0]]) if hub[0] else ""
    fetched = f"from https://huggingface.co/{place} " if place else ""
    return EncoderError(
        "its weights cannot be fetched, and are not in the cache",
        where=source.name,
        remedy=f"Without a network, copy the weights {fetched}elsewhere and name the file: "
        f"open_clip:{source.model}:{source.tag}:/path/to/open_clip_model.safetensors",
    )


def _suggested(name: str, known: list[str]) -> str:
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=_NEAREST, cutoff=0.6)
    return f"; near it are {', '.join(lowered[one] for one in near)}" if near else ""


@contextmanager
def _quietly() -> Iterator[None]:
    # open_clip logs every step of a failure that becomes one error here.
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class _OtherSizeError(Exception):
    """Weights for pictures or sentences of another length."""


@contextmanager
def _unstretched() -> Iterator[None]:
    """Refuse weights whose positions open_clip would stretch to another length without a word."""
    from open_clip import factory

    untyped: Any = factory
    stretchers = {name: getattr(untyped, name) for name in _STRETCHERS}

    def refuse(state: Any, model: Any, *_: Any, **__: Any) -> None:
        own = model.state_dict()
        for name, values in state.items():
            if "pos" in name and name in own and values.shape != own[name].shape:
                raise _OtherSizeError(name)

    for name in stretchers:
        setattr(untyped, name, refuse)
    try:
        yield
    finally:
        for name, function in stretchers.items():
            setattr(untyped, name, function)


@contextmanager
def _not_waiting() -> Iterator[None]:
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
