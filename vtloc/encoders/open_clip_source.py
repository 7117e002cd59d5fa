"""open_clip's models by name, and their weights: none, a pretrained tag's, or a file's."""

from __future__ import annotations

import difflib
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vtloc.encoders.loading_guards import (
    OtherModelError,
    UnusableWeightsError,
    check_finite,
    not_waiting,
    quietly,
    strict_weights,
    without_foreign_code,
)
from vtloc.errors import EncoderError
from vtloc_runtime.errors import MissingExtraError
from vtloc_runtime.system.text import first_line

_SELF_DESCRIBED = ("local-dir:", "hf-hub:")
"""Models that a folder or a repository describes, weights and tokenizer included."""
_PICTURE = ("mean", "std", "interpolation", "resize_mode")
_NEAREST = 3
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
    kind, _, place = text.partition(":")
    if kind == "local-dir" and not (place and os.path.isdir(place)):  # noqa: PTH112 - false where a name cannot be a path
        raise EncoderError(
            f"there is no folder {place!r}",
            where=name,
            remedy="Give a folder with open_clip_config.json and the weights",
        )
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
        if os.path.isdir(file):  # noqa: PTH112 - as above
            raise EncoderError(
                f"{file} is a folder",
                where=name,
                remedy="Name the file of weights in it, or a folder with open_clip_config.json: "
                f"open_clip:local-dir:{file}",
            )
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
    random = not source.described and (source.file or source.tag) is None
    try:
        with (
            quietly(),
            not_waiting(),
            strict_weights(),
            without_foreign_code(source.name),
            torch.random.fork_rng(devices=[]),
        ):
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
                require_pretrained=not random,
            )
            if random:
                _rouse_head(model)
            else:
                check_finite(model)
            return model
    except EncoderError:
        raise
    except Exception as error:
        raise _load_error(source, error) from error


def _rouse_head(model: Any) -> None:
    """Give random features a length: timm starts heads near zero, below half precision's range."""
    head = getattr(getattr(model.visual, "trunk", None), "head", None)
    if isinstance(head, torch.nn.Linear) and float(head.weight.detach().std()) < _QUIET:
        torch.nn.init.normal_(head.weight, std=head.in_features**-0.5)


def create_tokenizer(source: OpenClipSource) -> Any:
    """The tokenizer that open_clip feeds the model's text tower with.

    Raises:
        EncoderError: It cannot be fetched.
    """
    open_clip = import_open_clip()
    try:
        with quietly(), not_waiting(), without_foreign_code(source.name):
            return open_clip.get_tokenizer(source.model)
    except EncoderError:
        raise
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
    if source.file and _is_of_another_model(error):
        return EncoderError(
            f"cannot load {source.file}: its weights are of another model",
            where=source.name,
            remedy=f"Name the model that the file was saved from, instead of {source.model}",
        )
    if source.file:
        return EncoderError(
            f"cannot load {source.file}: {_content(Path(source.file)) or _reason(error)}",
            where=source.name,
            remedy="Copy or download it again: a .safetensors file, or a .pt file of weights alone",
        )
    if isinstance(error, UnusableWeightsError | OtherModelError | pickle.UnpicklingError):
        return EncoderError(
            f"cannot load its weights: {_reason(error)}",
            where=source.name,
            remedy="Download them again",
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
            f"cannot load it: {first_line(error)}",
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


def _is_of_another_model(error: Exception) -> bool:
    return isinstance(error, OtherModelError) or "loading state_dict" in str(error)


def _reason(error: Exception) -> str:
    """Why weights cannot be used, without a library's advice to its programmers."""
    if _is_of_another_model(error):
        return "they are of another model"
    if isinstance(error, pickle.UnpicklingError):
        return "it is no checkpoint, or holds more than weights"
    if isinstance(error, AttributeError | StopIteration | TypeError):
        return "it holds no weights by their names"
    if isinstance(error, UnusableWeightsError | MemoryError | OSError):
        return first_line(error)
    return f"it is damaged ({first_line(error).partition('. ')[0].rstrip('.')})"


def _content(path: Path) -> str | None:
    """What lies in a file that is often found in the place of weights."""
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
    except OSError as error:
        return error.strerror
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is Git LFS's pointer to the weights, not the weights"
    return "it is a web page" if head.startswith(b"<") else None


def _suggested(name: str, known: list[str]) -> str:
    lowered = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=_NEAREST, cutoff=0.6)
    return f"; near it are {', '.join(lowered[one] for one in near)}" if near else ""
