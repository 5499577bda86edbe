"""Validate the ``config.json`` of a saved model by the same rules as the YAML of an experiment."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..config import Average, Blocks, ClipSeconds, Layer, Section, SpecAugment
from ..utils.errors import RecipeError, sentences_of, shortened
from ..utils.names import clean_name

_MAX_SIZE = 1_000_000  # maximum of a size, such as channels or frames
_MAX_NUMBER = 2**53  # JSON readers that use doubles round larger integers
_MAX_CLASSES = 10_000
_DTYPES = ("float16", "bfloat16", "float32", "float64")

Settings = TypeVar("Settings", bound=Section)


def _dtype(found: Any) -> Any:
    name = str(found).removeprefix("torch.")
    if found is not None and name not in _DTYPES:
        raise ValueError(f"must be one of {', '.join(_DTYPES)}, got {shortened(found)}")
    return None if found is None else name


class HuggingFaceSettings(Section):
    """The common fields of Hugging Face configurations that a speech classifier may have.

    Fields that select code, downloaded kernels or files (``auto_map``, ``quantization_config``) are not allowed.
    """

    model_config = ConfigDict(protected_namespaces=())

    model_type: str | None = None
    architectures: list[str] | None = None
    transformers_version: str | None = None
    name_or_path: str | Path | None = None
    dtype: Annotated[Any, AfterValidator(_dtype)] = None
    return_dict: bool | None = None
    output_hidden_states: bool | None = None
    output_attentions: bool | None = None
    attn_implementation: str | None = Field(
        default=None, pattern=r"^[a-z0-9_]+$"
    )  # excludes names of kernels on the hub
    experts_implementation: str | None = Field(default=None, pattern=r"^[a-z0-9_]+$")
    problem_type: Literal["single_label_classification"] | None = None
    chunk_size_feed_forward: Literal[0] | None = None
    is_encoder_decoder: Literal[False] | None = None


class ClassifierSettings(Blocks):
    """The fields of :class:`~temporal_shift.ser.models.frame_classifier.FrameClassifierConfig`."""

    blocks: Literal["conv", "lstm", "transformer", "linear"] = "transformer"
    hidden_size: int = Field(default=768, ge=1, le=_MAX_SIZE)
    num_frames: int = Field(default=374, ge=1, le=_MAX_SIZE)
    num_attention_heads: int | None = Field(default=None, ge=1, le=_MAX_SIZE)
    spec_augment: SpecAugment = SpecAugment()
    num_layers: int = Field(default=0, ge=0, le=_MAX_SIZE)

    @model_validator(mode="after")
    def _check_shift(self) -> ClassifierSettings:
        if self.shift is not None and self.shift.n_div > self.hidden_size:
            raise ValueError(
                f"n_div must be at most {self.hidden_size}, the encoder's channels, got {self.shift.n_div}"
            )
        return self

    @model_validator(mode="after")
    def _check_heads(self) -> ClassifierSettings:
        if self.hidden_size % (self.num_attention_heads or 1):
            raise ValueError(
                f"num_attention_heads must divide hidden_size {self.hidden_size}, got {self.num_attention_heads}"
            )
        return self


class SpeechClassifierSettings(Section):
    """The fields of :class:`~temporal_shift.ser.models.speech_classifier_config.SpeechClassifierConfig`."""

    backbone_config: dict[str, Any]
    classifier_config: ClassifierSettings
    clip_seconds: ClipSeconds
    layer: Layer
    normalize: bool
    average: Average
    backbone: dict[Literal["name", "revision", "weights"], str | None]
    holds_backbone: bool
    provenance: dict[str, Any]
    temporal_shifts: dict[str, dict[str, Any]]

    @field_validator("classifier_config", mode="before")
    @classmethod
    def _own_fields(cls, found: Any) -> Any:
        """Ignore the common fields of Hugging Face configurations: the speech classifier has its own."""
        if not isinstance(found, dict):
            return found
        return {key: value for key, value in found.items() if key not in HuggingFaceSettings.model_fields}

    @field_validator("backbone_config")
    @classmethod
    def _check_numbers(cls, found: dict[str, Any]) -> dict[str, Any]:
        pending: list[tuple[str, Any]] = list(found.items())
        while pending:
            key, value = pending.pop()
            if isinstance(value, dict):
                pending += value.items()
            elif isinstance(value, list | tuple):
                pending += [(key, item) for item in value]
            elif isinstance(value, int | float) and not abs(value) <= _MAX_NUMBER:  # also true for NaN
                raise ValueError(f"{key} must be a finite number in [-2**53, 2**53], got {shortened(value)}")
        return found

    @model_validator(mode="after")
    def _check_encoder_and_layers(self) -> SpeechClassifierSettings:
        if not self.holds_backbone and not self.backbone.get("name"):
            raise ValueError(f"backbone must have a name if holds_backbone is false, got {self.backbone}")
        if (self.layer == "weighted") != (self.classifier_config.num_layers > 0):
            raise ValueError(
                "classifier_config.num_layers must be positive if layer is weighted, and 0 otherwise, got "
                f"{self.classifier_config.num_layers} with layer {self.layer}"
            )
        return self


def validate(settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Validate the values of a configuration, and return them as an instance of ``settings``.

    Args:
        settings: The pydantic class of the settings.
        values: The values by key.
    Raises:
        RecipeError: For the first invalid value, unknown key, missing key or contradiction.
    """
    try:
        return settings.model_validate(dict(values))
    except ValidationError as error:
        raise RecipeError(sentences_of(error, settings)[0]) from None


def hugging_face_fields(values: Mapping[str, Any], model_type: str) -> dict[str, Any]:
    """Validate the common fields of Hugging Face configurations, and return them without ``model_type``.

    Raises:
        RecipeError: If a value is invalid, ``model_type`` differs from the argument, or a key is unknown.
    """
    former = {"_name_or_path": "name_or_path", "torch_dtype": "dtype"}
    fields = {former.get(key, key): value for key, value in values.items() if key != "_commit_hash"}
    found = validate(HuggingFaceSettings, fields)
    if found.model_type not in (None, model_type):
        raise RecipeError(f"model_type must be {model_type}, got {shortened(found.model_type)}")
    return {key: value for key, value in found.model_dump(exclude_unset=True).items() if key != "model_type"}


def validate_labels(
    id2label: Mapping[Any, str] | None, label2id: Mapping[str, Any] | None, num_labels: int | None = None
) -> tuple[dict[int, str], dict[str, int]]:
    """The names of the classes, as ``id2label`` and ``label2id``, sorted by index.

    Args:
        id2label: The names by index. Default: the inverse of ``label2id``, or ``LABEL_0``, ``LABEL_1`` and so on.
        label2id: The indices by name. Default: the inverse of ``id2label``.
        num_labels: Number of classes. Default: the number of names, or 2 without names.
    Raises:
        RecipeError: If there are not 2 to 10000 different names with the indices 0, 1, ..., or the arguments have
            other types or contradict each other.
    """
    for key, given in (("id2label", id2label), ("label2id", label2id)):
        if given is not None and not isinstance(given, Mapping):
            raise RecipeError(f"{key} must be a dictionary, got {type(given).__name__}")
    if num_labels is not None and (type(num_labels) is not int or not 2 <= num_labels <= _MAX_CLASSES):
        raise RecipeError(f"num_labels must be an integer in [2, {_MAX_CLASSES}], got {shortened(num_labels)}")
    if id2label is None and label2id is None:
        id2label = {index: f"LABEL_{index}" for index in range(num_labels or 2)}
    inverse = [(_index(key, "label2id"), name) for name, key in (label2id or {}).items()]
    pairs = [(_index(key, "id2label"), name) for key, name in id2label.items()] if id2label is not None else inverse
    inverse = inverse if label2id is not None else pairs
    argument = "id2label" if id2label is not None else "label2id"
    for index, name in pairs:
        if not isinstance(name, str) or not clean_name(name):
            raise RecipeError(f"{argument} must have a name for each class, got {shortened(name)} for {index}")
    if len({clean_name(name) for _, name in pairs}) < len(pairs):
        names = ", ".join(name for _, name in pairs)
        raise RecipeError(f"{argument} must have different names, got {shortened(names)}")
    if not 2 <= len(pairs) <= _MAX_CLASSES or {index for index, _ in pairs} != set(range(len(pairs))):
        raise RecipeError(
            f"{argument} must have 2 to {_MAX_CLASSES} classes with the indices 0, 1, 2, ..., got the indices "
            f"{shortened(', '.join(str(index) for index, _ in pairs))}"
        )
    if num_labels is not None and num_labels != len(pairs):
        raise RecipeError(f"num_labels must be {len(pairs)}, the number of names in {argument}, got {num_labels}")
    if dict(inverse) != dict(pairs) or len(inverse) != len(pairs):
        raise RecipeError(f"label2id must be the inverse of id2label, got {label2id} for {id2label}")
    return dict(sorted(pairs)), {name: index for index, name in sorted(pairs)}


def _index(key: object, argument: str) -> int:
    text = str(key)
    if isinstance(key, bool) or not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RecipeError(f"{argument} must have the indices 0, 1, 2, ..., got {shortened(key)}")
    return int(text)


class CheckedConfig:
    """Mixin for a Hugging Face configuration: ``settings_class`` validates its fields, and its labels are validated."""

    settings_class: ClassVar[type[Section]]

    def validate_fields(self) -> None:
        """Validate the labels and the fields of ``settings_class``, and convert the fields to their types.

        Values that were set after construction are validated, too.

        Raises:
            RecipeError: For the first invalid value.
        """
        config: Any = self
        config.id2label, config.label2id = validate_labels(config.id2label, config.label2id)
        names = self.settings_class.model_fields
        fields = validate(self.settings_class, {name: getattr(self, name) for name in names})
        for name, value in fields.model_dump().items():
            setattr(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Like Hugging Face's ``to_dict``, without unknown attributes, which loading would reject."""
        found: dict[str, Any] = super().to_dict()  # type: ignore[misc]
        return {key: value for key, value in found.items() if key in self._fields()}

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:
        config: Any = self
        label2id = {name: index for index, name in (config.id2label or {}).items()}
        if config.label2id != label2id:  # for example after config.id2label = ...; loading would reject the file
            warnings.warn("label2id is not the inverse of id2label; the inverse is saved instead", stacklevel=2)
            config.label2id = label2id
        known = {*self._fields(), "use_cache"}  # the Trainer sets use_cache, which only decoders use
        if lost := [key for key in self.__dict__ if not key.startswith("_") and key not in known]:
            warnings.warn(f"config.json has no field for {', '.join(lost)}, so this is not saved", stacklevel=2)
        super().save_pretrained(save_directory, push_to_hub, **kwargs)  # type: ignore[misc]

    @classmethod
    def _fields(cls) -> set[str]:
        return {*cls.settings_class.model_fields, *HuggingFaceSettings.model_fields, "id2label", "label2id"}

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> tuple[dict[str, Any], Any]:
        found, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)  # type: ignore[misc]
        if not found:  # transformers uses default values if the file is missing
            place = Path(str(pretrained_model_name_or_path), kwargs.get("subfolder") or "")
            raise OSError(f"the model {place} has no config.json")
        return found, unused

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """Like Hugging Face's ``from_dict``. Labels in the arguments replace the saved labels.

        If the only such argument is a ``num_labels`` that equals their number, the saved labels stay.

        Raises:
            RecipeError: If a value is invalid, or the file selects an attention other than ``eager`` and ``sdpa``,
                which transformers may have to download.
        """
        if (chosen := config_dict.get("attn_implementation")) not in (None, "eager", "sdpa"):
            raise RecipeError(f"attn_implementation must be eager or sdpa in config.json, got {shortened(chosen)}")
        given = {key: kwargs.pop(key) for key in ("id2label", "label2id", "num_labels") if key in kwargs}
        given = {key: value for key, value in given.items() if value is not None}
        saved = config_dict.get("id2label")
        if given and not (isinstance(saved, dict) and given == {"num_labels": len(saved)}):
            config_dict = {key: value for key, value in config_dict.items() if key not in ("id2label", "label2id")}
        return super().from_dict({**config_dict, **given}, **kwargs)  # type: ignore[misc]
