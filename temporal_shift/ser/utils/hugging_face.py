"""Check the names of Hugging Face models, load them without log messages, and check that all weights were loaded."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers import PreTrainedModel
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from .errors import RecipeError
from .wording import counted

_NUMBER = re.compile(r"\d+")  # a layer's number in the name of a weight

_MAX_NAME = 96  # maximum characters of a name on the hub


def check_folder_or_hub_name(name: str, what: str) -> None:
    """Raise a :class:`RecipeError` unless a name is a folder, or possible on the hub: ``owner/model`` or ``model``.

    Args:
        name: The name.
        what: The kind of model, for messages.
    """
    if not name.strip():
        raise RecipeError(f"the name of the {what} must not be empty, got {name!r}")
    if os.path.isdir(name):
        return
    if os.path.exists(name):
        raise RecipeError(f"the {what} must be a folder or a hub name, got the file {name}")
    parts = name.split("/")
    if name[0] in ".~" or len(parts) > 2 or len(name) > _MAX_NAME or not all(parts) or "\\" in name:
        hint = ": write the home folder in full instead of ~" if name[0] == "~" else ""
        raise RecipeError(f"there is no {what} folder {name}{hint}")


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Ignore warnings, and let these loggers show errors only."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    try:
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide warnings, log messages below errors and loading bars, but not the hub's download bars.

    A download can take minutes. If its bars are disabled, they stay disabled.
    """
    loading_bars, download_bars = is_progress_bar_enabled(), not are_progress_bars_disabled()
    disable_progress_bar()
    if download_bars:
        enable_progress_bars()  # disable_progress_bar disables them, too
    try:
        with quiet("transformers", "huggingface_hub"):
            yield
    finally:
        if loading_bars:
            enable_progress_bar()
        if not download_bars:
            disable_progress_bars()


def check_all_loaded(model: PreTrainedModel, loading: Mapping[str, Any], name: str) -> None:
    """Raise a :class:`RecipeError` if ``from_pretrained`` initialised weights at random, or ignored layers.

    ``masked_spec_embed`` may be initialised at random.

    Args:
        model: The loaded model.
        loading: The report of ``from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)``.
        name: Name of the model, for the message.
    """
    misshapen = {name for name, *_ in loading["mismatched_keys"]}
    random = misshapen.union(loading["missing_keys"])
    random = {name for name in random if not name.endswith("masked_spec_embed")}  # used in training only
    if random:
        shape = " with the right shape" if min(random) in misshapen else ""
        raise RecipeError(f"{name} lacks {len(random)} of its weights, for example {min(random)}{shape}")
    names = {_NUMBER.sub("#", key) for key in model.state_dict()}
    of_layers = [key for key in loading["unexpected_keys"] if _unnumbered(key, model.base_model_prefix) in names]
    if of_layers:
        raise RecipeError(
            f"{name} has {counted(len(of_layers), 'weight')} of layers that its configuration lacks, for example "
            f"{min(of_layers)}"
        )


def _unnumbered(key: str, prefix: str) -> str:
    return _NUMBER.sub("#", key.removeprefix(f"{prefix}."))
