"""The experiment as typed data: what the YAML may say, with the paper's settings as defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from .utils.atomic_files import FOLDER_NAME
from .utils.errors import RecipeError, sentences_of


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)  # a misspelt key is an error, not a default


_DIVIDED = ("ravdess", "cremad", "emodb", "emobox", "table", "folder")  # into groups of speakers

CORPUS_OPTIONS: dict[str, tuple[str, ...]] = {  # and the readers that have a use for them
    "label_map": ("iemocap", *_DIVIDED),
    "groups": _DIVIDED,
    "folds": ("emobox", "table", "folder"),
    "audio": ("emobox", "table"),
    "pattern": ("folder",),
}


class Corpus(_Section):
    """Where the speech lies and who reads it: see :mod:`temporal_shift.ser.corpora`."""

    reader: Literal["iemocap", "ravdess", "cremad", "emodb", "emobox", "table", "folder", "manifest"] = "iemocap"
    path: Path  # the corpus folder, the table, or the manifest that ``temporal-shift ser prepare`` wrote
    labels: tuple[str, ...] | None = None  # of a manifest, in the order of the model's outputs; sorted by default
    label_map: dict[str, str | None] | None = None  # a class for each of the corpus's labels, or null to leave it out
    pattern: str | None = None  # of a folder, such as {speaker}_{label}_{name}; by default {label}/{speaker}/{name}
    groups: int | None = Field(default=None, ge=2)  # of speakers, where there are no sessions; by default 5
    folds: Literal["speakers", "published"] | None = None  # by default the corpus's own sessions, but not of EmoBox
    audio: Path | None = None  # the folder where a table's or EmoBox's paths start
    note: str = ""  # said wherever results on it are reported

    @field_validator("label_map", mode="before")
    @classmethod
    def _codes_are_text(cls, found: Any) -> Any:
        for code in found if isinstance(found, dict) else ():
            if not isinstance(code, str):
                raise ValueError(f"the label {code!r} is not text in YAML: put quotes around it, as it stands there")
        if isinstance(found, dict) and not any(found.values()):
            raise ValueError("it leaves out everything")
        return found

    @model_validator(mode="after")
    def _options_fit_the_reader(self) -> Corpus:
        for option, readers in CORPUS_OPTIONS.items():
            if getattr(self, option) is not None and self.reader not in readers:
                raise ValueError(f"{option} is for {', '.join(readers)}: {self.reader} has no use for it")
        if self.groups is not None and self.folds == "published":
            raise ValueError(f"groups={self.groups} is of speakers, and folds: published is not: leave one of them out")
        return self

    @classmethod
    def checked(cls, **values: Any) -> Corpus:
        """The same; raises :class:`RecipeError` with one sentence."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(sentences_of(error)[0]) from None

    def below(self, folder: Path) -> Corpus:
        """With the paths that start from a folder."""
        audio = None if self.audio is None else folder / self.audio
        return self.model_copy(update={"path": folder / self.path, "audio": audio})


class Backbone(_Section):
    """The pre-trained encoder: a Hugging Face hub name, or a folder with its files."""

    name: str = "facebook/hubert-base-ls960"
    revision: str | None = None  # of the hub: a commit, a tag or a branch; what it means today is kept with the results
    layer: int | Literal["last", "weighted"] = "last"  # 0 is what goes into the first; weighted: a learned sum of all
    normalize: bool = False  # the paper feeds the raw waveform

    @field_validator("layer")
    @classmethod
    def _one_name_for_the_last(cls, layer: int | str) -> int | str:
        return "last" if layer == -1 else layer  # or the same features would be cached twice


class Features(_Section):
    """What is cached of each utterance."""

    clip_seconds: PositiveFloat = 7.5  # the first seconds, zero-padded to that length
    average: PositiveInt = 1  # neighbouring frames averaged into one: 5 turns 50 Hz into 10 Hz
    dtype: Literal["float16", "float32"] = "float32"


class Shift(_Section):
    """Where the shift sits and how much it moves; see :func:`temporal_shift.temporal_shift`."""

    placement: Literal["residual", "inplace", "replace"]
    n_div: PositiveInt
    stride: int = 1
    bidirectional: bool = False


PLACEMENTS: dict[str, tuple[str, ...]] = {  # that each kind of blocks can have
    "conv": ("residual", "inplace"),
    "lstm": ("inplace",),
    "transformer": ("replace", "residual", "inplace"),
}


class Model(_Section):
    """One row of the table: a stack of blocks on the frames, with or without a shift."""

    name: str = Field(pattern=FOLDER_NAME)  # its results' folder has this name
    blocks: Literal["conv", "lstm", "transformer"]
    shift: Shift | None = None
    baseline: str | None = None  # the model it is compared with, utterance by utterance

    @model_validator(mode="after")
    def _shift_fits_the_blocks(self) -> Model:
        allowed = PLACEMENTS[self.blocks]
        if self.shift is not None and self.shift.placement not in allowed:
            raise ValueError(f"{self.blocks} blocks take the placement {' or '.join(allowed)}")
        return self


class SpecAugment(_Section):
    """Masks on the frames while training; probabilities and lengths mean what they mean in Hugging Face's Wav2Vec2."""

    time_prob: float = Field(default=0.08, ge=0, le=1)  # of the frames, about this share is masked
    time_length: PositiveInt = 15  # frames
    time_min_masks: int = Field(default=2, ge=0)
    feature_prob: float = Field(default=0.05, ge=0, le=1)
    feature_length: PositiveInt = 64  # channels
    feature_min_masks: int = Field(default=1, ge=0)


class Protocol(_Section):
    """Who trains, who chooses the epoch, who is tested: see :mod:`temporal_shift.ser.training.folds`."""

    kind: Literal["heldout", "paper", "last", "speaker"] = "heldout"


class Training(_Section):
    """The optimiser (AdamW, the paper's settings; without weight decay it is Adam) and its schedule."""

    epochs: PositiveInt = 100
    batch_size: PositiveInt = 32  # utterances a step, whatever the number of processes
    gradient_accumulation: PositiveInt = 1  # passes that a step's utterances are divided into, to save memory
    learning_rate: PositiveFloat = 5e-4
    weight_decay: float = Field(default=0.05, ge=0)  # not of biases, norms and other one-dimensional parameters
    # After a linear warm-up; "paper" is the published code's rate, see :mod:`temporal_shift.ser.training.schedules`.
    schedule: Literal["cosine", "linear", "constant", "paper"] = "cosine"
    warmup_epochs: int = Field(default=5, ge=0)
    max_grad_norm: PositiveFloat = 5.0
    shuffle: bool = True
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # of the products, where it is not float32
    seed: int = 42  # of the first run; further seeds count up from it
    checkpoint_seconds: float = Field(default=60, ge=0)  # at most so much training is lost to a kill, and one epoch
    workers: int = Field(default=0, ge=0)  # processes that read audio for fine-tuning
    keep_models: bool = False  # the weights at the reported epoch, for ``temporal-shift ser package``
    tensorboard: bool = False  # curves under the run's folder, as they grow

    @model_validator(mode="after")
    def _batches_divide(self) -> Training:
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f"gradient_accumulation={self.gradient_accumulation} does not divide batch_size={self.batch_size}"
            )
        return self


class Experiment(_Section):
    """One YAML file. Relative paths in it start from its own folder."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    setting: Literal["features", "finetune"] = (
        "features"  # the backbone stays as it is, or learns (not its convolutions)
    )
    corpus: Corpus
    backbone: Backbone = Backbone()
    features: Features = Features()
    spec_augment: SpecAugment = SpecAugment()
    protocol: Protocol = Protocol()
    training: Training = Training()
    models: list[Model] = Field(min_length=1)
    seeds: PositiveInt = 1  # how often each model is trained for each fold
    processes: PositiveInt = 1  # runs trained side by side, a thread each

    @model_validator(mode="after")
    def _names_are_unique_and_baselines_exist(self) -> Experiment:
        names = [model.name for model in self.models]
        for model in self.models:
            if names.count(model.name) > 1:
                raise ValueError(f"two models are called {model.name!r}")
            if model.baseline is not None and model.baseline not in names:
                raise ValueError(f"{model.name!r} has the baseline {model.baseline!r}, which is not among the models")
        return self


def read_experiment(path: Path, overrides: dict[str, dict[str, Any]] | None = None) -> Experiment:
    """Read and check a YAML file; raises :class:`RecipeError` with one sentence that names the key.

    Args:
        overrides: What the command line says instead, by section and key; under ``""`` the keys of no section.
            Paths among them start from the working directory.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"there is no experiment file {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{path} must hold keys and values (name, corpus, models, ...), not {type(data).__name__}")
    for section, values in (overrides or {}).items():
        target = data.setdefault(section, {}) if section else data
        if isinstance(target, dict):  # a section of another kind is the validation's to report
            target.update(values)
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise RecipeError(f"{path}: {sentences_of(error)[0]}") from None
    return _resolved(experiment, path.resolve().parent)


def _resolved(experiment: Experiment, folder: Path) -> Experiment:
    corpus = experiment.corpus.below(folder)
    backbone = experiment.backbone
    if (folder / backbone.name).is_dir():  # a hub name has no folder beside the file
        backbone = backbone.model_copy(update={"name": str(folder / backbone.name)})
    return experiment.model_copy(update={"corpus": corpus, "backbone": backbone})
