"""The files of a model, in a folder or on the Hugging Face hub. Only JSON and safetensors files are read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..utils.errors import RecipeError, reason_of, shortened
from ..utils.hugging_face import quiet_loading
from ..utils.text_files import unique_keys
from ..utils.wording import listed

_WEIGHT_FILE = r"[\w-][\w.-]*\.safetensors"  # a name without a folder
_MAX_JSON = 16 << 20  # bytes; old preprocessor_config.json files of Whisper are about 200 kB


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model.

    Args:
        name: A folder, or a name on the hub.
        revision: A commit, a tag or a branch on the hub. Default: ``main``.
        allow_download: Whether to send requests to the hub; if not, only its local cache is read. Default: ``True``.
        kind: What the model is, for messages. Default: ``"backbone"``.
        options: Further arguments of ``hf_hub_download``: ``token``, ``cache_dir``, ``subfolder`` and others. Default:
            none.
    """

    name: str
    revision: str | None = None
    allow_download: bool = True
    kind: str = "backbone"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path | None:
        """The folder; ``None`` on the hub."""
        folder = Path(self.name)
        return folder / (self.options.get("subfolder") or "") if folder.is_dir() else None

    def find(self, filename: str) -> Path | None:
        """The path of a file, downloaded if necessary; ``None`` if the model does not have it.

        Without downloads, it is also ``None`` if the file is not in the hub's cache.

        Raises:
            OSError: If a request to the hub fails.
        """
        if self.folder is not None:
            path = self.folder / filename
            return path if path.is_file() else None
        try:
            return self._on_hub(filename)
        except LocalEntryNotFoundError:
            if self._can_download:
                raise
            return None
        except EntryNotFoundError:
            return None

    def config(self) -> Path:
        """The path of ``config.json``, downloaded if necessary.

        Raises:
            RecipeError: If the file does not exist or cannot be downloaded.
        """
        if self.folder is not None:
            if (path := self.find("config.json")) is None:
                raise RecipeError(f"the {self.kind} folder {self.folder} has no config.json")
            return path
        try:
            return self._on_hub("config.json")
        except (OSError, ValueError, EntryNotFoundError) as error:
            raise RecipeError(self._failure(error)) from None

    def at(self, commit: object) -> ModelFiles:
        """The files on the hub at a commit, so that cached files are found without a request; a folder is unchanged."""
        return self if self.folder is not None else replace(self, revision=str(commit))

    def json(self, filename: str) -> dict[str, Any] | None:
        """The content of a JSON file; ``None`` if :meth:`find` does not find it.

        Raises:
            RecipeError: If the file cannot be read or is not a JSON object of at most 16 MiB with unique keys, or if
                ``config.json`` is missing.
            OSError: If a request to the hub fails.
        """
        path = self.config() if filename == "config.json" else self.find(filename)
        if path is None:
            return None
        try:
            if (size := path.stat().st_size) > _MAX_JSON:
                raise ValueError(f"it must have at most {_MAX_JSON >> 20} MiB, got {size / (1 << 20):.1f} MiB")
            found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
            if not isinstance(found, dict):
                raise ValueError(f"it must be a JSON object, got {type(found).__name__}")
        except (OSError, ValueError, RecursionError) as error:
            raise RecipeError(
                f"the {filename} of the {self.kind} {self.name} cannot be read: {reason_of(error)}"
            ) from None
        return found

    def weight_files(self) -> list[Path]:
        """The paths of the safetensors files, downloaded if necessary.

        Raises:
            RecipeError: If there are none, one is missing, or ``model.safetensors.index.json`` is invalid.
            OSError: If a request to the hub fails.
        """
        if whole := self.find("model.safetensors"):
            return [whole]
        index = self.json("model.safetensors.index.json")
        if index is None and self.folder is None and not self._can_download:
            raise RecipeError(
                f"the {self.kind} {self.name} has no model.safetensors in the hub's cache on this machine: allow "
                "downloads, or name a revision with safetensors"
            )
        if index is None:
            advice = "save the weights as safetensors" if self.folder else "name a revision with safetensors"
            kind = f"{self.kind} folder" if self.folder else self.kind
            raise RecipeError(
                f"the {kind} {self.folder or self.name} has no model.safetensors: pickled weights are never read; "
                f"{advice}"
            )
        shards = index.get("weight_map")
        names = sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else []
        invalid = [name for name in names if not re.fullmatch(_WEIGHT_FILE, name)]
        if invalid or not names:
            raise RecipeError(
                f"weight_map in the model.safetensors.index.json of the {self.kind} {self.name} must name safetensors "
                f"files in the same folder, got {shortened(invalid[0]) if invalid else 'none'}"
            )
        paths = {name: self.find(name) for name in names}
        if missing := [name for name, path in paths.items() if path is None]:
            place = "" if self.folder or self._can_download else " in the hub's cache on this machine"
            raise RecipeError(
                f"the {self.kind} {self.folder or self.name} lacks {listed(missing)}{place}, named in its "
                "model.safetensors.index.json"
            )
        return [path for path in paths.values() if path is not None]

    def weights(self) -> dict[str, Tensor]:
        """The weights by name.

        Raises:
            RecipeError: As :meth:`weight_files`; also if a file cannot be downloaded or read, or a weight is not
                floating point (except for ``num_batches_tracked``).
        """
        found: dict[str, Tensor] = {}
        try:
            for path in self.weight_files():
                found |= load_file(path)
        except (OSError, SafetensorError) as error:
            raise RecipeError(f"the {self.kind} {self.name} cannot be loaded: {reason_of(error)}") from None
        for name, weight in found.items():
            if not weight.is_floating_point() and not name.endswith("num_batches_tracked"):
                raise RecipeError(
                    f"the weights of the {self.kind} {self.name} must be floating-point numbers, "
                    f"got {str(weight.dtype).removeprefix('torch.')} in {name}"
                )
        return found

    @property
    def _can_download(self) -> bool:
        is_offline = huggingface_hub.constants.HF_HUB_OFFLINE or self.options.get("local_files_only")
        return self.allow_download and not is_offline

    def _on_hub(self, filename: str) -> Path:
        revision = self.revision or "main"
        if not self.allow_download:  # try_to_load_from_cache sends no requests
            name = f"{self.options.get('subfolder') or '.'}/{filename}".removeprefix("./")
            found = huggingface_hub.try_to_load_from_cache(self.name, name, self.options.get("cache_dir"), revision)
            if not isinstance(found, str):
                raise LocalEntryNotFoundError(f"{filename} is not in the hub's cache on this machine")
            return Path(found)
        with quiet_loading():
            return Path(huggingface_hub.hf_hub_download(self.name, filename, revision=revision, **self.options))

    def _failure(self, error: Exception) -> str:
        if not self.allow_download:
            return (
                f"the {self.kind} {self.name} is not on this machine; download it from the Hugging Face hub with "
                "--allow-download (allow_download=True)"
            )
        reason = reason_of(error)
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            reason = "offline mode is on (HF_HUB_OFFLINE) and the hub's cache on this machine lacks it"
        elif self.options.get("local_files_only"):
            reason = "local_files_only is true and the hub's cache on this machine lacks it"
        elif isinstance(error, (GatedRepoError, RepositoryNotFoundError)):
            reason = "it does not exist there, or requires a login (`hf auth login`)"
        elif isinstance(error, RevisionNotFoundError):
            reason = f"it has no revision {self.revision or 'main'}"
        elif isinstance(error, LocalEntryNotFoundError):
            reason = "the hub cannot be reached"
        elif isinstance(error, EntryNotFoundError):
            reason = "it has no config.json"
        return (
            f"the {self.kind} {self.name} is not a local folder, and the download from the Hugging Face hub failed: "
            f"{reason}; with a network, run `hf download {self.name} --local-dir FOLDER` and set the {self.kind} to "
            "that folder"
        )


def checksum(weights: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the names and the weights, converted to half precision.

    A copy of the model that is stored in half precision has the same checksum.

    The mask vector is excluded, because it is not used, and is random if a checkpoint lacks it.
    """
    digest = hashlib.sha256()
    for name in sorted(name for name in weights if not name.endswith("masked_spec_embed")):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()
