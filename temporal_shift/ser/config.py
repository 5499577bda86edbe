"""The experiment as typed data: every key of the YAML file, with the paper's settings as defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .utils.errors import RecipeError, sentences_of, shortened
from .utils.names import LocalPath, Name, PathName, check_name, clean_label_map, look_alike_problems, look_alikes
from .utils.yaml_files import read_yaml

Channel: TypeAlias = int | Literal["mean"]  # of a recording

_MAX_SEED = 2**32 - 1  # NumPy's


class Section(BaseModel):
    """A group of settings."""

    # a misspelt key is an error, and so is an infinite number
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, found: Any, field: ValidationInfo) -> Any:
        kind = cls.model_fields[field.field_name or ""].annotation
        if isinstance(found, bool) and {int, float} & {kind, *get_args(kind)}:
            raise ValueError(f"must be a number, got {str(found).lower()}")
        return found


Column = Literal["path", "label", "speaker", "id", "session"]  # of a table


def check_channel(channel: Any) -> Channel:
    """The channel, ``"mean"`` or a number from 0; a text may contain the number.

    Raises:
        ValueError: For other values.
    """
    if channel == "mean":
        return "mean"
    number = int(channel) if isinstance(channel, str) and re.fullmatch("[0-9]{1,4}", channel) else channel
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"channel must be mean or the number of a channel, counted from 0, got {channel!r}")
    return number


_DIVIDED = ("ravdess", "cremad", "emodb", "emobox", "table", "folder")  # readers that make groups of speakers

CORPUS_OPTIONS: dict[str, tuple[str, ...]] = {  # the readers that support each option
    "label_map": ("iemocap", *_DIVIDED, "manifest", "auto"),
    "groups": (*_DIVIDED, "auto"),
    "folds": ("emobox", "table", "folder"),
    "audio": ("emobox", "table"),
    "columns": ("table",),
    "pattern": ("folder",),
}


class Corpus(Section):
    """The corpus and its reader; see :mod:`temporal_shift.ser.corpora`."""

    reader: Literal["iemocap", "ravdess", "cremad", "emodb", "emobox", "table", "folder", "manifest", "auto"] = (
        "iemocap"
    )
    path: LocalPath  # the corpus folder, the table, or the manifest that ``temporal-shift ser prepare`` wrote
    labels: tuple[Name, ...] | None = Field(
        default=None, min_length=1
    )  # a manifest's classes in the order of the model's outputs; default: sorted
    label_map: dict[str, str | None] | None = None  # each label of the corpus to a class, or to null to leave it out
    columns: dict[Column, str] | None = None  # a table's columns, if they have other names
    pattern: str | None = None  # a folder's paths, e.g. {speaker}_{label}_{name}; default: {label}/{speaker}/{name}
    groups: int | None = Field(default=None, ge=2)  # speaker groups used as folds without sessions; default: 5
    folds: Literal["speakers", "published"] | None = None  # default: the corpus's sessions, if it has them
    audio: LocalPath | None = None  # the folder that the paths of a table or of EmoBox start from
    channel: Channel = "mean"  # of each recording: their mean, or a number from 0
    note: str = ""  # the first caveat of reports, in place of a comparison with the published corpus

    @field_validator("label_map", mode="before")
    @classmethod
    def _codes_are_text(cls, found: Any) -> Any:
        for code in found if isinstance(found, dict) else ():
            if not isinstance(code, str):
                raise ValueError(f"labels must be text, got {code!r}; put quotes around it in the YAML")
        return found

    @field_validator("label_map")
    @classmethod
    def _each_label_has_one_class(cls, found: dict[str, str | None] | None) -> dict[str, str | None] | None:
        return None if found is None else clean_label_map(found)

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, found: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for label in found or ():
            if found is not None and found.count(label) > 1:
                raise ValueError(f"labels must be unique, got {label!r} twice")
        if problems := look_alike_problems("labels", found or (), "give them one name"):
            raise ValueError(problems[0])
        return found

    @field_validator("columns")
    @classmethod
    def _columns_differ(cls, found: dict[Column, str] | None) -> dict[Column, str] | None:
        named = {column: check_name(name, f"the column of {column}").lower() for column, name in (found or {}).items()}
        for column, name in named.items():
            if list(named.values()).count(name) > 1:
                raise ValueError(f"the column of {column} must be another one than the others', got {name!r} twice")
        return found and named

    @field_validator("channel", mode="before")
    @classmethod
    def _one_channel_or_their_mean(cls, found: Any) -> Channel:
        return check_channel(found)

    @model_validator(mode="after")
    def _options_fit_the_reader(self) -> Corpus:
        for option, readers in CORPUS_OPTIONS.items():
            if getattr(self, option) is not None and self.reader not in readers:
                named = ", ".join(reader for reader in readers if reader != "auto")
                raise ValueError(f"{option} needs a reader of {named}, got {self.reader}")
        if self.groups is not None and self.folds == "published":
            raise ValueError(f"groups and folds: published are mutually exclusive, got groups={self.groups}")
        return self

    @classmethod
    def checked(cls, **values: Any) -> Corpus:
        """Validate the values; raises :class:`RecipeError` for the first that is invalid."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(sentences_of(error)[0]) from None

    def below(self, folder: Path) -> Corpus:
        """The same corpus with its relative paths resolved against a folder."""
        audio = None if self.audio is None else folder / self.audio
        return self.model_copy(update={"path": folder / self.path, "audio": audio})


def _layer(found: Any) -> Any:
    if isinstance(found, str) and found.removeprefix("-").isdecimal():
        found = int(found)
    if found not in ("last", "weighted") and not isinstance(found, int):
        raise ValueError(f"must be last, weighted or a whole number, got {shortened(found)}")
    return "last" if found == -1 else found  # so that the same features are cached once


Layer = Annotated[int | Literal["last", "weighted"], BeforeValidator(_layer)]
ClipSeconds = Annotated[float, Field(gt=0, le=3600)]
Average = Annotated[int, Field(ge=1, le=100_000)]


class Backbone(Section):
    """The pre-trained encoder: a name on the Hugging Face hub, or a local folder."""

    name: str = "facebook/hubert-base-ls960"
    revision: str | None = None  # a commit, tag or branch on the hub; the results record its commit
    layer: Layer = "last"  # 0: input of the first layer; weighted: a learned sum of all
    normalize: bool = False  # the paper feeds the raw waveform


class Features(Section):
    """The cached features of each utterance."""

    clip_seconds: ClipSeconds = 7.5  # utterances are cut or zero-padded to this length
    average: Average = 1  # adjacent frames averaged into one: 5 turns 50 Hz into 10 Hz
    dtype: Literal["float16", "float32"] = "float32"


class Shift(Section):
    """The placement and size of the shift; see :func:`temporal_shift.temporal_shift`."""

    placement: Literal["residual", "inplace", "replace"]
    n_div: PositiveInt
    stride: int = Field(default=1, ge=-100_000, le=100_000)
    bidirectional: bool = False

    @model_validator(mode="after")
    def _channels_are_left_for_both_ways(self) -> Shift:
        if self.bidirectional and self.n_div < 2:
            raise ValueError(f"n_div must be at least 2 if bidirectional is true, got {self.n_div}")
        return self


PLACEMENTS: dict[str, tuple[str, ...]] = {  # of the shift, by blocks
    "conv": ("residual", "inplace"),
    "lstm": ("inplace",),
    "transformer": ("replace", "residual", "inplace"),
    "linear": (),  # without blocks, a shift would change little but the edges of the mean
}


class Blocks(Section):
    """A stack of blocks on the frames, with or without a shift. ``linear`` is the baseline without blocks."""

    blocks: Literal["conv", "lstm", "transformer", "linear"]
    shift: Shift | None = None
    pooling: Literal["mean", "mean_std"] = "mean"  # over frames; mean_std, with the standard deviation, is for linear

    @model_validator(mode="after")
    def _shift_fits_the_blocks(self) -> Blocks:
        allowed = PLACEMENTS[self.blocks]
        if self.shift is not None and not allowed:
            raise ValueError(f"shift must be left out for {self.blocks}, got placement {self.shift.placement}")
        if self.shift is not None and self.shift.placement not in allowed:
            raise ValueError(f"placement must be {' or '.join(allowed)} for {self.blocks}, got {self.shift.placement}")
        if self.pooling != "mean" and self.blocks != "linear":
            raise ValueError(f"pooling must be mean for {self.blocks}, got {self.pooling}")
        return self


def _as_list(found: Any) -> Any:
    return found if isinstance(found, (list, tuple)) else [] if found is None else [found]


Baselines: TypeAlias = Annotated[tuple[PathName, ...], BeforeValidator(_as_list)]


class Model(Blocks):
    """A model of an experiment."""

    name: PathName  # also the name of its results folder
    baseline: Baselines = ()  # the models to compare it with, utterance by utterance; one name or a list
    learning_rate: PositiveFloat | None = None  # default: training.learning_rate

    @model_validator(mode="before")
    @classmethod
    def _former_key_of_the_baseline(cls, found: Any) -> Any:
        if isinstance(found, dict) and "twin" in found:  # its former name
            return {"baseline": found["twin"], **{key: value for key, value in found.items() if key != "twin"}}
        return found


class SpecAugment(Section):
    """Masks on the frames in training, with the probabilities and lengths of Hugging Face's Wav2Vec2."""

    time_prob: float = Field(default=0.08, ge=0, le=1)  # approximate share of masked frames
    time_length: int = Field(default=15, ge=1, le=100_000)  # frames
    time_min_masks: int = Field(default=2, ge=0, le=100_000)
    feature_prob: float = Field(default=0.05, ge=0, le=1)
    feature_length: int = Field(default=64, ge=1, le=100_000)  # channels
    feature_min_masks: int = Field(default=1, ge=0, le=100_000)


class Protocol(Section):
    """The parts of each fold and the choice of the epoch; see :mod:`temporal_shift.ser.training.folds`."""

    kind: Literal["heldout", "paper", "last", "speaker"] = "heldout"


class Training(Section):
    """The optimiser (AdamW with the paper's settings) and its schedule."""

    epochs: int = Field(default=100, ge=1, le=1_000_000)
    batch_size: int = Field(default=32, ge=1, le=1_000_000)  # utterances per step, over all processes
    gradient_accumulation: PositiveInt = 1  # passes per step; more passes need less memory
    learning_rate: PositiveFloat = 5e-4
    weight_decay: float = Field(default=0.05, ge=0)  # not for biases, norms and other one-dimensional parameters
    # after a linear warm-up; "paper" is the published code's rate, see :mod:`temporal_shift.ser.training.schedules`
    schedule: Literal["cosine", "linear", "constant", "paper"] = "cosine"
    warmup_epochs: int = Field(default=5, ge=0, le=1_000_000)
    max_grad_norm: PositiveFloat = 5.0
    shuffle: bool = True
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # others: mixed precision
    seed: int = Field(default=42, ge=0, le=_MAX_SEED)  # the first seed; the others count up from it
    checkpoint_seconds: float = Field(default=60, ge=0)  # minimum time between checkpoints, written at epoch ends
    workers: int = Field(default=0, ge=0, le=1024)  # processes that read audio in fine-tuning
    keep_models: bool = False  # keep the weights at the reported epoch, for ``temporal-shift ser package``
    tensorboard: bool = False  # write curves to the run's folder during training

    @model_validator(mode="after")
    def _batches_divide(self) -> Training:
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation must divide batch_size {self.batch_size}, got {self.gradient_accumulation}"
            )
        return self


class Experiment(Section):
    """An experiment. Relative paths in a YAML file start from the file's folder."""

    name: PathName  # also the default name of its results folder
    setting: Literal["features", "finetune"] = "features"  # backbone frozen, or trained except for its convolutions
    corpus: Corpus
    backbone: Backbone = Backbone()
    features: Features = Features()
    spec_augment: SpecAugment = SpecAugment()
    protocol: Protocol = Protocol()
    training: Training = Training()
    models: list[Model] = Field(min_length=1)
    seeds: int = Field(default=1, ge=1, le=10_000)  # number of seeds that each model is trained with on each fold
    processes: int = Field(default=1, ge=1, le=1024)  # runs trained in parallel, with one thread each

    @model_validator(mode="after")
    def _names_are_unique_and_baselines_exist(self) -> Experiment:
        names = [model.name for model in self.models]
        for model in self.models:
            if names.count(model.name) > 1:
                raise ValueError(f"names of models must be unique, got {model.name!r} twice")
            for baseline in model.baseline:
                if baseline not in {*names} - {model.name}:
                    raise ValueError(f"baseline of {model.name!r} must be one of the other models, got {baseline!r}")
                if model.baseline.count(baseline) > 1:
                    raise ValueError(f"baseline of {model.name!r} must name each model once, got {baseline!r} twice")
        if alike := look_alikes(names):
            raise ValueError(f"names of models must not look alike, got {' and '.join(map(repr, alike[0]))}")
        if (last := self.training.seed + self.seeds - 1) > _MAX_SEED:
            raise ValueError(f"training.seed + seeds - 1 must be at most {_MAX_SEED}, got {last}")
        return self


def read_experiment(path: Path, overrides: dict[str, dict[str, Any]] | None = None) -> Experiment:
    """Read and validate an experiment, a YAML file.

    Args:
        overrides: Values that replace the file's, by section and key; ``""`` is the section of top-level keys.
    Raises:
        RecipeError: If the file cannot be read or a value is invalid; the message names the key.
    """
    data = read_yaml(path, "experiment file")
    if not isinstance(data, dict):
        found = "an empty file" if data is None else type(data).__name__
        raise RecipeError(f"{path} must contain keys and values (name, corpus, models, ...), got {found}")
    for section, values in (overrides or {}).items():
        target = data.setdefault(section, {}) if section else data
        if isinstance(target, dict):  # otherwise the validation reports the section
            target.update(values)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{path}: {sentences_of(error)[0]}") from None
    folder, backbone = path.resolve().parent, experiment.backbone
    if (folder / backbone.name).is_dir():  # otherwise the name is on the hub
        backbone = backbone.model_copy(update={"name": str(folder / backbone.name)})
    return experiment.model_copy(update={"corpus": experiment.corpus.below(folder), "backbone": backbone})
