"""The settings of an experiment: the keys of its YAML file, their defaults and their validation.

``docs/settings.md`` is generated from the descriptions here: ``python docs/generate_settings.py``.

"The paper" is Shen, Liu, Zhou, ICASSP 2023; its code is ShiftSER.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin

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

Channel: TypeAlias = int | Literal["mean"]

_MAX_SEED = 2**32 - 1  # np.random.seed, which transformers.set_seed calls, accepts no larger seed


class Section(BaseModel):
    """A section of an experiment's YAML file, or of a saved model's ``config.json``."""

    # unknown keys, infinite numbers and NaN are errors
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_booleans_as_numbers(cls, found: Any, field: ValidationInfo) -> Any:
        kind = cls.model_fields[field.field_name or ""].annotation
        kinds = {kind, *get_args(kind)}
        is_plain = not any(get_origin(each) is Literal for each in kinds)  # else the field has its own validator
        if isinstance(found, bool) and {int, float} & kinds and is_plain:
            raise ValueError(f"must be a number, got {str(found).lower()}")
        return found


Column = Literal["path", "label", "speaker", "id", "session"]


def check_channel(channel: Any) -> Channel:
    """Return ``"mean"`` or the number of a channel, counted from 0.

    Args:
        channel: ``"mean"``, or an integer of at least 0, also as text of up to four digits.
    Raises:
        ValueError: If ``channel`` is something else.
    """
    if channel == "mean":
        return "mean"
    number = int(channel) if isinstance(channel, str) and re.fullmatch("[0-9]{1,4}", channel) else channel
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise ValueError(f"channel must be mean or an integer, counted from 0, got {channel!r}")
    return number


_GROUPING = ("ravdess", "cremad", "emodb", "emobox", "table", "folder")  # readers that form speaker groups

CORPUS_OPTIONS: dict[str, tuple[str, ...]] = {  # option: the readers that support it
    "label_map": ("iemocap", *_GROUPING, "manifest", "auto"),
    "groups": (*_GROUPING, "auto"),
    "folds": ("emobox", "table", "folder"),
    "audio": ("emobox", "table"),
    "columns": ("table",),
    "pattern": ("folder",),
}


class Corpus(Section):
    """The recordings, their labels and their speakers."""

    reader: Literal["iemocap", "ravdess", "cremad", "emodb", "emobox", "table", "folder", "manifest", "auto"] = Field(
        default="iemocap",
        description="Format of the corpus. `auto` chooses the reader that fits the files at `path`.",
    )
    path: LocalPath = Field(
        description="The corpus folder, the folder `data/<dataset>` of EmoBox, the table, or the manifest that "
        "`temporal-shift ser prepare` wrote."
    )
    labels: tuple[Name, ...] | None = Field(
        default=None,
        min_length=1,
        description="All labels of a manifest, in the order of the model's outputs; for `manifest` only. With "
        "`label_map`, the outputs have the order of its classes. Default: all labels, sorted.",
    )
    label_map: dict[str, str | None] | None = Field(
        default=None,
        description="Class of each label; `null` leaves the label's utterances out. Default: the map that this package "
        "or EmoBox has for the corpus; without such a map, each label is a class.",
    )
    columns: dict[Column, str] | None = Field(
        default=None,
        description="Headers of a table's columns, such as `{path: file_id}`. Default: `path`, `label`, `speaker`, "
        "`id`, `session`.",
    )
    pattern: str | None = Field(
        default=None,
        description="Pattern of the paths in a folder, with fields for the label and the speaker, such as "
        "`{speaker}_{label}_{take}`. Default: `{label}/{speaker}/{name}`.",
    )
    groups: int | None = Field(
        default=None,
        ge=2,
        description="Number of speaker groups, which replace the sessions; not for iemocap and manifest. Default: 5, "
        "or one group per speaker if there are fewer than 5 speakers; no groups if the corpus's sessions are used.",
    )
    folds: Literal["speakers", "published"] | None = Field(
        default=None,
        description="Folds of a table, a folder or an EmoBox dataset: `speakers` forms speaker groups, `published` "
        "uses EmoBox's folds, or the sessions of the table or folder. Default: the sessions of the table or folder "
        "if it has sessions and `groups` is not set; otherwise speaker groups.",
    )
    audio: LocalPath | None = Field(
        default=None,
        description="Folder that the paths of a table or of EmoBox are relative to. Default: the table's folder, or "
        "the clone of EmoBox.",
    )
    channel: Channel = Field(
        default="mean", description="Channel that is read: the mean of all channels, or a number, counted from 0."
    )
    note: str = Field(
        default="",
        description="First caveat of the reports. A corpus with a note is not compared with a published corpus.",
    )

    @field_validator("label_map", mode="before")
    @classmethod
    def _reject_labels_that_are_not_text(cls, found: Any) -> Any:
        for code in found if isinstance(found, dict) else ():
            if not isinstance(code, str):
                raise ValueError(f"labels must be text, got {code!r}; put it in quotes")
        return found

    @field_validator("label_map")
    @classmethod
    def _clean_label_map(cls, found: dict[str, str | None] | None) -> dict[str, str | None] | None:
        return None if found is None else clean_label_map(found)

    @field_validator("labels")
    @classmethod
    def _check_labels(cls, found: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for label in found or ():
            if found is not None and found.count(label) > 1:
                raise ValueError(f"labels must be unique, got {label!r} twice")
        if problems := look_alike_problems("labels", found or (), "give them one name"):
            raise ValueError(problems[0])
        return found

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, found: dict[Column, str] | None) -> dict[Column, str] | None:
        named = {column: check_name(name, f"the column of {column}").lower() for column, name in (found or {}).items()}
        for name in named.values():
            if list(named.values()).count(name) > 1:
                raise ValueError(f"must name each column of the table once, got {name!r} twice")
        return found and named

    @field_validator("channel", mode="before")
    @classmethod
    def _check_channel(cls, found: Any) -> Channel:
        return check_channel(found)

    @model_validator(mode="after")
    def _check_options_of_reader(self) -> Corpus:
        for option, readers in CORPUS_OPTIONS.items():
            if getattr(self, option) is not None and self.reader not in readers:
                expected = readers[0] if len(readers) == 1 else f"one of {', '.join(readers)}"
                raise ValueError(f"reader must be {expected} if {option} is set, got {self.reader}")
        if self.groups is not None and self.folds == "published":
            raise ValueError(f"groups and folds: published are mutually exclusive, got groups={self.groups}")
        return self

    @classmethod
    def checked(cls, **values: Any) -> Corpus:
        """Validate the values; raise :class:`RecipeError` for the first invalid one."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(sentences_of(error, cls)[0]) from None

    def below(self, folder: Path) -> Corpus:
        """Return a copy with the relative paths resolved against a folder."""
        audio = None if self.audio is None else folder / self.audio
        return self.model_copy(update={"path": folder / self.path, "audio": audio})


def _layer(found: Any) -> Any:
    if isinstance(found, str) and found.removeprefix("-").isdecimal():
        found = int(found)
    if found not in ("last", "weighted") and type(found) is not int:
        raise ValueError(f"must be last, weighted or an integer, got {shortened(found)}")
    return "last" if found == -1 else found  # -1 means the encoder's output, too, so both share a cache


Layer = Annotated[int | Literal["last", "weighted"], BeforeValidator(_layer)]
ClipSeconds = Annotated[float, Field(gt=0, le=3600)]
Average = Annotated[int, Field(ge=1, le=100_000)]


class Backbone(Section):
    """The pre-trained speech encoder."""

    name: str = Field(
        default="facebook/hubert-base-ls960",
        description="Name on the Hugging Face hub, or a local folder. The default is the paper's encoder for `setting: "
        "features`.",
    )
    revision: str | None = Field(
        default=None,
        description="Commit, tag or branch on the hub. Default: the main branch. The results record the commit.",
    )
    layer: Layer = Field(
        default="last",
        description="`last`: the encoder's output. An integer: the hidden state with this index; 0 is the input of the "
        "first layer, negative values count from the end, and -1 is the same as `last`. `weighted`: the sum of all "
        "hidden states with learned weights, as in SUPERB.",
    )
    normalize: bool = Field(
        default=False,
        description="Normalise each clip to zero mean and unit variance. The paper's code does not normalise.",
    )


class Features(Section):
    """The frames that the encoder computes from each utterance."""

    clip_seconds: ClipSeconds = Field(
        default=7.5,
        description="Length of a clip in seconds: utterances are cut or zero-padded. Default: as in the paper.",
    )
    average: Average = Field(
        default=1,
        description="Number of adjacent frames that are averaged into one: 5 turns 50 frames per second into 10.",
    )
    dtype: Literal["float16", "float32"] = Field(default="float32", description="Data type of the cached frames.")


class Shift(Section):
    """The temporal shift of a model; see :func:`temporal_shift.temporal_shift`."""

    placement: Literal["residual", "inplace", "replace"] = Field(
        description="Where the shift is applied: `residual` on the skip connection, `inplace` on the input of the "
        "block, `replace` in place of self-attention. `conv` supports `residual` and `inplace`, `lstm` supports "
        "`inplace`, `transformer` supports all three."
    )
    n_div: PositiveInt = Field(
        description="One in `n_div` channels moves, per direction. At most the number of channels; at least 2 if "
        "`bidirectional`. The paper's best: 16 for `conv`, 4 for `lstm` and `transformer`."
    )
    stride: int = Field(
        default=1,
        ge=-100_000,
        le=100_000,
        description="Frames by which the channels move. 0 shifts nothing; negative values swap past and future.",
    )
    bidirectional: bool = Field(
        default=False,
        description="Also move a second group of channels in the opposite direction: with a positive `stride`, it "
        "reads the future. The paper's best `transformer` has it.",
    )

    @model_validator(mode="after")
    def _check_bidirectional(self) -> Shift:
        if self.bidirectional and self.n_div < 2:
            raise ValueError(f"n_div must be at least 2 if bidirectional is true, got {self.n_div}")
        return self


PLACEMENTS: dict[str, tuple[str, ...]] = {  # blocks: the placements that they support
    "conv": ("residual", "inplace"),
    "lstm": ("inplace",),
    "transformer": ("replace", "residual", "inplace"),
    "linear": (),  # the mean over frames is nearly the same with a shift
}


class Blocks(Section):
    """The blocks of a classifier, with or without a shift."""

    blocks: Literal["conv", "lstm", "transformer", "linear"] = Field(
        description="Layers between the frames and the pooling: two ConvNeXt-like blocks, one bidirectional LSTM, two "
        "Transformer layers, or none (`linear`)."
    )
    shift: Shift | None = Field(
        default=None, description="The temporal shift. Default: no shift. `linear` supports none."
    )
    pooling: Literal["mean", "mean_std"] = Field(
        default="mean",
        description="Pooling over frames: their mean, or their mean and standard deviation (`linear` only).",
    )

    @model_validator(mode="after")
    def _check_shift_of_blocks(self) -> Blocks:
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
    """One model of the experiment. ``models`` is a list of models."""

    name: PathName = Field(description="Name in the reports, and of the folder of the model's runs.")
    baseline: Baselines = Field(
        default=(),
        description="Names of the models to compare this model with, on the same utterances, folds and seeds. A single "
        "name needs no list.",
    )
    learning_rate: PositiveFloat | None = Field(
        default=None, description="Peak learning rate of this model. Default: `training.learning_rate`."
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_former_name_of_baseline(cls, found: Any) -> Any:
        if isinstance(found, dict) and "twin" in found:
            return {"baseline": found["twin"], **{key: value for key, value in found.items() if key != "twin"}}
        return found


class SpecAugment(Section):
    """SpecAugment on the frames, in training only. Defaults: as in the paper's code.

    Time masks are filled with a learned vector, channel masks with 0. Masks are drawn as in Hugging Face's Wav2Vec2.
    """

    time_prob: float = Field(
        default=0.08, ge=0, le=1, description="Approximate share of frames that are masked. 0: no time masks."
    )
    time_length: int = Field(default=15, ge=1, le=100_000, description="Length of a time mask in frames.")
    time_min_masks: int = Field(
        default=2,
        ge=0,
        le=100_000,
        description="Minimum number of time masks per clip, or as many as fit into the clip.",
    )
    feature_prob: float = Field(
        default=0.05, ge=0, le=1, description="Approximate share of channels that are masked. 0: no channel masks."
    )
    feature_length: int = Field(default=64, ge=1, le=100_000, description="Width of a channel mask in channels.")
    feature_min_masks: int = Field(
        default=1,
        ge=0,
        le=100_000,
        description="Minimum number of channel masks per clip, or as many as there are channels for.",
    )


class Protocol(Section):
    """The training, validation and test parts of each fold, and the epoch that is reported."""

    kind: Literal["heldout", "paper", "last", "speaker"] = Field(
        default="heldout",
        description="`heldout`: test on one session, choose the epoch on the next session. "
        "`speaker`: test on one speaker, choose the epoch on the other speakers of the session, or on the next session "
        "if there are none. `last`: test on one session after the last epoch. `paper`: report the best epoch on the "
        "test session, which is optimistic. The remaining utterances are for training. Speaker groups replace the "
        "sessions in a corpus without sessions.",
    )


class Training(Section):
    """The optimiser, AdamW, and its schedule.

    Defaults: as in the paper's code for frozen features, except for ``schedule`` and ``shuffle``.
    """

    epochs: int = Field(default=100, ge=1, le=1_000_000, description="Number of epochs.")
    batch_size: int = Field(
        default=32, ge=1, le=1_000_000, description="Utterances per optimiser step, over all processes of a run."
    )
    gradient_accumulation: PositiveInt = Field(
        default=1,
        description="Forward passes per optimiser step in each process. This number, times the number of processes "
        "that train a run together, must divide `batch_size`. More passes need less memory.",
    )
    learning_rate: PositiveFloat = Field(default=5e-4, description="Peak learning rate.")
    weight_decay: float = Field(
        default=0.05, ge=0, description="Weight decay; not applied to biases, norms and other 1-D parameters."
    )
    schedule: Literal["cosine", "linear", "constant", "paper"] = Field(
        default="cosine",
        description="Learning rate after the linear warm-up: `cosine` and `linear` decay to 0, `constant` does not "
        "change. `paper` uses the learning rates of the paper's code and ignores `warmup_epochs`.",
    )
    warmup_epochs: int = Field(default=5, ge=0, le=1_000_000, description="Epochs of linear warm-up.")
    max_grad_norm: PositiveFloat = Field(default=5.0, description="Gradients are clipped to this L2 norm.")
    shuffle: bool = Field(
        default=True, description="Shuffle the utterances in every epoch. The paper's code does not shuffle."
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32",
        description="Data type of the forward pass. `bfloat16` and `float16` are mixed precision; `float16` requires a "
        "GPU.",
    )
    seed: int = Field(
        default=42,
        ge=0,
        le=_MAX_SEED,
        description="First random seed. With `seed: 42` and `seeds: 3`, the seeds are 42, 43 and 44.",
    )
    checkpoint_seconds: float = Field(
        default=60,
        ge=0,
        description="Minimum time between two checkpoints in seconds. Checkpoints are written at the end of an "
        "epoch, except for the last.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Number of processes that read audio or cached frames for each training process. 0: the training "
        "process reads them.",
    )
    keep_models: bool = Field(
        default=False, description="Keep the weights of each run, for `temporal-shift ser package`."
    )
    tensorboard: bool = Field(default=False, description="Write TensorBoard curves to the folder of each run.")

    @model_validator(mode="after")
    def _check_gradient_accumulation(self) -> Training:
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation must divide batch_size {self.batch_size}, got {self.gradient_accumulation}"
            )
        return self


class Experiment(Section):
    """The keys at the top of the file. Relative paths start from the file's folder."""

    name: PathName = Field(description="Name of the experiment, and of its default results folder.")
    setting: Literal["features", "finetune"] = Field(
        default="features",
        description="`features`: the encoder is frozen and its frames are cached. `finetune`: the encoder is trained, "
        "except for its input convolutions and Whisper's positions.",
    )
    corpus: Corpus = Field(description="The corpus.")
    backbone: Backbone = Field(default=Backbone(), description="The pre-trained encoder.")
    features: Features = Field(default=Features(), description="The frames of the encoder.")
    spec_augment: SpecAugment = Field(default=SpecAugment(), description="The masks on the frames in training.")
    protocol: Protocol = Field(default=Protocol(), description="The folds and the reported epoch.")
    training: Training = Field(default=Training(), description="The optimiser and its schedule.")
    models: list[Model] = Field(min_length=1, description="The models to train and compare.")
    seeds: int = Field(
        default=1, ge=1, le=10_000, description="Number of seeds that each model is trained with on each fold."
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="Number of runs that are trained in parallel, with one thread each. 1: one run at a time, with all "
        "threads. Ignored with torchrun, accelerate launch and Ray.",
    )

    @model_validator(mode="after")
    def _check_names_and_seeds(self) -> Experiment:
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
            raise ValueError(
                "names of models must not look alike (case, width, white space, leading zeros and .0 are ignored), got "
                f"{' and '.join(map(repr, alike[0]))}"
            )
        if (last := self.training.seed + self.seeds - 1) > _MAX_SEED:
            raise ValueError(f"training.seed + seeds - 1 must be at most {_MAX_SEED}, got {last}")
        return self


def read_experiment(path: Path, overrides: dict[str, dict[str, Any]] | None = None) -> Experiment:
    """Read and validate the YAML file of an experiment.

    Args:
        path: The file. Relative paths in it start from its folder.
        overrides: Values that replace the file's, by section and key; ``""`` is the section of top-level keys.
            Default: ``None``, no overrides.
    Raises:
        RecipeError: If the file cannot be read or is not a YAML mapping, or a key or a value is invalid.
    Example:
        >>> experiment = read_experiment(Path("examples/quickstart/experiment.yaml"), {"training": {"epochs": 3}})
        >>> experiment.name, experiment.training.epochs
        ('quickstart', 3)
    """
    data = read_yaml(path, "experiment file")
    if not isinstance(data, dict):
        found = "an empty file" if data is None else type(data).__name__
        raise RecipeError(f"{path} must contain a mapping (name, corpus, models, ...), got {found}")
    for section, values in (overrides or {}).items():
        target = data.setdefault(section, {}) if section else data
        if isinstance(target, dict):  # else validation reports the section
            target.update(values)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{path}: {sentences_of(error, Experiment)[0]}") from None
    folder, backbone = path.resolve().parent, experiment.backbone
    if (folder / backbone.name).is_dir():  # else it may be a name on the hub
        backbone = backbone.model_copy(update={"name": str(folder / backbone.name)})
    return experiment.model_copy(update={"corpus": experiment.corpus.below(folder), "backbone": backbone})
