"""A whole model in Hugging Face's format, from waveform to logits.

Importing this module registers the model with ``AutoConfig``, ``AutoFeatureExtractor`` and
``AutoModelForAudioClassification``.
"""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForAudioClassification,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
)
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils.generic import can_return_tuple

from temporal_shift.surgery import restore_temporal_shifts, temporal_shift_settings

from .. import config as settings_of
from ..audio.resampling import SAMPLE_RATE
from ..encoders.families import check_size, encoder_class, encoder_config
from ..encoders.frame_encoder import FrameEncoder, normalized
from ..encoders.model_files import ModelFiles, checksum
from ..encoders.preprocessor import check_statements
from ..encoders.pretrained import PretrainedEncoder, load_backbone, whisper_positions
from ..encoders.whisper_spectrogram import HOP, log_mel
from ..utils.atomic_files import write_bytes
from ..utils.errors import RecipeError, reason_of
from ..utils.hugging_face import check_all_loaded, check_folder_or_hub_name, quiet_loading
from ..utils.wording import joined, listed
from .frame_classifier import FrameClassifier, FrameClassifierConfig
from .model_card import model_card
from .saved_settings import HuggingFaceSettings, SpeechClassifierSettings
from .speech_classifier_config import SpeechClassifierConfig

_HUB = ("token", "cache_dir", "local_files_only", "force_download", "subfolder")
# arguments of from_pretrained that replace fields of the configuration
_FIELDS = {*SpeechClassifierSettings.model_fields, *HuggingFaceSettings.model_fields} - {"dtype"}
_FIELDS |= {"id2label", "label2id", "num_labels"}


class SpeechClassifier(PreTrainedModel):
    r"""Predicts the class of an utterance from its waveform: clip, encoder, frame classifier.

    Args:
        config: The configuration. :meth:`from_pretrained` loads a trained model.

    Shape:
        ``input_values`` is ``(B, samples)`` at 16 kHz with a full scale of 1, of any length. As in training, it is cut
        or zero-padded to ``clip_seconds``. ``labels`` is ``(B,)``, ``logits`` is ``(B, classes)``, and the loss is
        computed as in :class:`.FrameClassifier`. ``output_hidden_states`` and ``output_attentions`` add these outputs
        of the encoder; by default, the configuration decides. :class:`temporal_shift.ser.Recognizer` predicts longer
        recordings, window by window.

    Raises:
        RecipeError: If a value of the configuration is invalid.
        ValueError, TypeError: If ``config.temporal_shifts`` does not fit the model.
        ValueError: When called, if ``input_values`` is not floating point or does not have two dims.

    Example:
        >>> from temporal_shift.ser import SpeechClassifier
        >>> model = SpeechClassifier.from_pretrained("examples/real-speech/models/Shiftformer")
        >>> model(torch.zeros(1, 16000)).logits.shape
        torch.Size([1, 4])
    """

    config: SpeechClassifierConfig
    config_class = SpeechClassifierConfig
    main_input_name = "input_values"
    input_modalities = "audio"
    accepts_loss_kwargs = True  # the Trainer passes num_items_in_batch
    supports_gradient_checkpointing = True
    saves_temporal_shifts = True  # else saving after add_temporal_shift warns that shifts are lost
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = True  # the encoder rejects what it does not support

    def __init__(self, config: SpeechClassifierConfig) -> None:
        config.validate_fields()
        attention = config._attn_implementation  # None until super() sets a default that the encoder may not support
        super().__init__(config)
        encoder = _encoder_config(config)
        encoder._attn_implementation = attention
        self.backbone = FrameEncoder(encoder_class(encoder)(encoder), config.layer, config.average)
        config._attn_implementation = self.backbone.model.config._attn_implementation
        self.classifier = FrameClassifier(_classifier_config(config))
        self.classifier.config._attn_implementation = config._attn_implementation
        self.post_init()
        restore_temporal_shifts(self, config.temporal_shifts)
        if self.classifier.head.weight.is_meta:  # as in from_pretrained: the check needs no memory
            self._check_shapes()

    @classmethod
    def of(
        cls,
        backbone: PretrainedEncoder,
        classifier: FrameClassifier,
        settings: settings_of.Backbone,
        clip_seconds: float,
        provenance: dict[str, Any] | None = None,
    ) -> SpeechClassifier:
        """Combine an encoder and a frame classifier. The modules are shared, not copied.

        Args:
            backbone: The encoder.
            classifier: The classifier of the encoder's frames.
            settings: The settings that the encoder was loaded with.
            clip_seconds: Length that waveforms are cut or zero-padded to, in seconds.
            provenance: The facts of the training for the model card. Default: ``None``, none are known.

        Raises:
            RecipeError: If the parts and ``clip_seconds`` do not fit each other.
        """
        parts = classifier.config.to_diff_dict()
        names = {key: parts.pop(key) for key in ("id2label", "label2id") if key in parts}
        of_backbone = backbone.model.config.to_dict()
        of_backbone.pop("_name_or_path", None)
        with torch.device("meta"):  # the weights are loaded already
            model = cls(
                SpeechClassifierConfig(
                    backbone_config=of_backbone,
                    classifier_config=parts,
                    clip_seconds=clip_seconds,
                    layer=backbone.layer,
                    normalize=settings.normalize,
                    average=backbone.average,
                    backbone={"name": settings.name, "revision": settings.revision},
                    provenance=provenance,
                    **names,
                )
            )
        model.backbone.model, model.classifier = backbone.model, classifier
        return model

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the logits."""
        names: dict[Any, str] = self.config.id2label or {}
        return tuple(names[index] for index in range(len(names)))

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_values: Tensor,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        *,
        output_hidden_states: bool | list[int] | None = None,
        output_attentions: bool | None = None,
    ) -> SequenceClassifierOutput:
        asked: dict[str, Any]
        asked = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        asked = {key: getattr(self.config, key) if value is None else value for key, value in asked.items()}
        wanted: dict[str, Any] = {
            key: value for key, value in asked.items() if value is not None and value is not False
        }
        if input_values.dim() != 2 or not input_values.is_floating_point():
            raise ValueError(
                "input_values must be a floating-point tensor of shape (batch, samples), got "
                f"{input_values.dtype} of shape {tuple(input_values.shape)}"
            )
        frames = self.backbone(self._encoder_input(input_values), **wanted)
        encoded: Any = None
        if wanted:
            frames, encoded = frames
        output = self.classifier(frames, labels, num_items_in_batch)
        return SequenceClassifierOutput(
            loss=output.loss,
            logits=output.logits,
            hidden_states=encoded.hidden_states if "output_hidden_states" in wanted else None,
            attentions=encoded.attentions if "output_attentions" in wanted else None,
        )

    def _check_shapes(self) -> None:
        """Run a clip on the meta device through the model; raise :class:`RecipeError` if the parts do not fit."""
        layer, last = self.config.layer, self.backbone.model.config.num_hidden_layers
        if isinstance(layer, int) and not -last - 1 <= layer <= last:
            raise RecipeError(f"layer must be last, weighted or in [{-last - 1}, {last}], got {layer}")
        if isinstance(encoder := self.backbone.model, WhisperEncoder):  # else a longer clip is cut
            whisper_positions(encoder.config.max_source_positions, self.config.clip_samples, "the encoder")
        was_training = self.training
        try:
            with torch.device("meta"), torch.no_grad():
                self.eval()
                shape = tuple(self(torch.zeros(1, self.config.clip_samples), return_dict=True).logits.shape)
        except Exception as error:  # mismatched parts can fail in any way
            raise RecipeError(
                f"the model of this configuration cannot process clips of {self.config.clip_seconds:g} s: "
                f"{reason_of(error)}"
            ) from None
        finally:
            self.train(was_training)
        if shape != (1, len(self.labels)):
            raise RecipeError(
                f"the logits of a clip must have the shape {(1, len(self.labels))} with this configuration, got {shape}"
            )

    def _encoder_input(self, waves: Tensor) -> Tensor:
        """The encoder's input: clips, or their spectrograms."""
        samples = self.config.clip_samples
        clips = F.pad(waves, (0, samples))[:, :samples]  # no branch on the length, so there is one graph
        if self.config.normalize:
            clips = normalized(clips)
        if not isinstance(self.backbone.model, WhisperEncoder):
            return clips
        encoder = self.backbone.model.config
        whole = 2 * HOP * encoder.max_source_positions  # the samples that the encoder expects; can exceed a clip
        return log_mel(F.pad(clips, (0, whole - samples)), encoder.num_mel_bins)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *args: Any, **kwargs: Any
    ) -> Any:
        """Like Hugging Face's ``from_pretrained``, for safetensors only.

        If the encoder is not saved with the model, it is read from the configuration's ``backbone``, unless a
        ``state_dict`` is given. With another number of classes (``num_labels``, ``id2label``, ``label2id``),
        ``ignore_mismatched_sizes=True`` gives the model a new last layer.

        Args:
            pretrained_model_name_or_path: A folder or a hub name; ``None`` if ``config`` and ``state_dict`` are given.
            args: As in transformers.
            kwargs: As in transformers, without ``variant``. A ``state_dict`` replaces all saved weights.
                ``allow_download=True`` allows downloading the encoder that a local folder refers to; by default, only
                models on the hub download their encoder.

        Raises:
            RecipeError: If the configuration is invalid, the encoder or the weights are not found or cannot be read,
                there are too few weights for the configuration, ``variant`` is given, or the name is ``None``
                without ``config`` and ``state_dict``.
            RuntimeError: If shapes of weights do not match, without ``ignore_mismatched_sizes=True``.
            TypeError: If ``config`` is not a :class:`.SpeechClassifierConfig`, a folder or a hub name.
            OSError: If the model does not exist.
        """
        name = pretrained_model_name_or_path
        if (variant := kwargs.pop("variant", None)) is not None:
            raise RecipeError(f"variant must be None, got {variant!r}: use dtype to set the type of the weights")
        if name is None:  # as in transformers: all weights are in state_dict
            if kwargs.get("config") is None or kwargs.get("state_dict") is None:
                raise RecipeError("config and state_dict must be given with pretrained_model_name_or_path=None")
            return super().from_pretrained(None, *args, **kwargs)
        hub: dict[str, Any] = {key: kwargs.pop(key) for key in _HUB if key in kwargs}
        revision = kwargs.pop("revision", None)
        allow_download = kwargs.pop("allow_download", not Path(name).is_dir())
        settings = kwargs.pop("config", None)
        if not isinstance(settings, (SpeechClassifierConfig, str, os.PathLike, type(None))):
            raise TypeError(
                f"config must be a SpeechClassifierConfig, a folder or a hub name, got {type(settings).__name__}"
            )
        if not isinstance(settings, SpeechClassifierConfig):
            fields = {key: kwargs.pop(key) for key in list(kwargs) if key in _FIELDS}
            settings = cls.config_class.from_pretrained(settings or name, revision=revision or "main", **hub, **fields)
        files = ModelFiles(str(name), revision, kind="model", options=hub)
        check_statements(files, feature_extractor().to_dict())
        given = kwargs.pop("state_dict", None)
        weights = files.weights() if given is None else dict(given)
        if given is None and not settings.holds_backbone:
            encoder = _weights_elsewhere(settings, Path(name, hub.get("subfolder") or ""), allow_download)
            weights |= {f"backbone.model.{key}": value for key, value in encoder.items()}
        check_size(_encoder_config(settings), weights, settings.clip_samples, f"the model {name}")
        # a state_dict, because from a folder transformers also loads adapters and files that config.json names
        loaded = super().from_pretrained(None, *args, config=copy.deepcopy(settings), state_dict=weights, **kwargs)
        model: Any = loaded[0] if isinstance(loaded, tuple) else loaded
        model.backbone.freeze_constants()
        model.name_or_path = model.config.name_or_path = str(name)
        return loaded

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        *,
        holds_backbone: bool = True,
        half: bool = False,
        **kwargs: Any,
    ) -> None:
        """Like Hugging Face's ``save_pretrained``; also writes ``preprocessor_config.json`` and the model card.

        Args:
            save_directory: The folder, which is created if necessary.
            holds_backbone: Whether to save the encoder's weights. Otherwise the folder is small and refers to the
                encoder by ``config.backbone["name"]``; if training changed the encoder's weights, the saved model
                cannot be loaded. Default: ``True``.
            half: Whether to store the weights in float16; by default, they are loaded as float32. Default: ``False``.
            kwargs: As in transformers, without ``push_to_hub`` and ``variant``.

        Raises:
            RecipeError: If ``variant`` is given, or ``save_directory`` is a file.
            TypeError: If ``push_to_hub`` is true; call :meth:`push_to_hub` instead.
        """
        if kwargs.pop("push_to_hub", False):
            raise TypeError("push_to_hub must be False, got True: call push_to_hub(name), which also uploads the card")
        if kwargs.get("variant") is not None:
            raise RecipeError(
                f"variant must be None, got {kwargs['variant']!r}: from_pretrained does not read variants"
            )
        if Path(save_directory).is_file():
            raise RecipeError(f"save_directory must be a folder, got the file {save_directory}")
        state: dict[str, Tensor] = kwargs.pop("state_dict", None) or self.state_dict()
        state = {key: weight for key, weight in state.items() if holds_backbone or not key.startswith("backbone.")}
        if half:
            state = {key: weight.half() if weight.is_floating_point() else weight for key, weight in state.items()}
        self.config.temporal_shifts = temporal_shift_settings(self)
        before = self.config.holds_backbone, self.config.backbone
        self.config.holds_backbone = holds_backbone
        if not holds_backbone:
            self.config.backbone = {**before[1], "weights": checksum(self.backbone.model.state_dict())}
        try:
            super().save_pretrained(save_directory, state_dict=state, **kwargs)
            card = str(model_card(self.config, self.labels))
        finally:
            self.config.holds_backbone, self.config.backbone = before
        if not kwargs.get("is_main_process", True):
            return
        feature_extractor().save_pretrained(save_directory)
        write_bytes(Path(save_directory) / "README.md", card.encode())

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> str:
        """Upload the files of :meth:`save_pretrained`, including the card, to the hub; return the repository's URL.

        Args:
            repo_id: The name on the hub, ``owner/name``. The repository is created if necessary.
            kwargs: ``private`` and ``token`` as in transformers; other arguments of ``HfApi.upload_folder``.
        """
        api = HfApi(token=kwargs.pop("token", None))
        repo = api.create_repo(repo_id, private=kwargs.pop("private", None), exist_ok=True)
        kwargs.setdefault("commit_message", "Upload a temporal-shift speech classifier")
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            api.upload_folder(repo_id=repo.repo_id, folder_path=folder, **kwargs)
        return str(repo)

    def _init_weights(self, module: nn.Module) -> None:
        """Keep the initialisation of each layer's constructor."""


def load_speech_classifier(name: str, revision: str | None = None, *, allow_download: bool = False) -> SpeechClassifier:
    """Load a model by its folder or hub name, in float32 and eval mode.

    Args:
        name: A folder, or a name on the hub.
        revision: A commit, a tag or a branch on the hub. Default: ``main``.
        allow_download: Whether an encoder that a folder refers to may be downloaded from the hub. For a hub name,
            the model and its encoder are downloaded in any case. Default: ``False``.
    Raises:
        RecipeError: If the model does not exist, is not a speech classifier of this package, or cannot be loaded; if
            its weights do not match its configuration or are not finite; or if ``revision`` is given with a folder.
    """
    check_folder_or_hub_name(name, "model")
    folder = Path(name)
    if folder.is_dir() and not (folder / "config.json").is_file():
        below = sorted(path.parent.name for path in folder.glob("*/config.json"))
        hint = (
            f"; its subfolders {joined(below)} do"
            if len(below) > 1
            else f"; its subfolder {below[0]} does"
            if below
            else ""
        )
        raise RecipeError(f"the model folder {folder} has no config.json{hint}")
    if folder.is_dir() and revision is not None:
        raise RecipeError(f"revision must not be given with a model folder, got {revision!r}")
    if folder.is_dir():
        ModelFiles(name, kind="model").json("config.json")  # transformers would accept duplicate keys
    try:
        with quiet_loading():
            settings = AutoConfig.from_pretrained(name, revision=revision or "main", trust_remote_code=False)
            if not isinstance(settings, SpeechClassifierConfig):
                raise RecipeError(
                    f"the model {name} must be one that `temporal-shift ser package` or "
                    f"SpeechClassifier.save_pretrained wrote, got the type {settings.model_type}"
                )
            model, loading = SpeechClassifier.from_pretrained(
                name,
                config=settings,
                revision=revision or "main",
                allow_download=allow_download or not folder.is_dir(),
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with missing weights
            )
    except RecipeError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        found = "" if folder.is_dir() else f"there is no folder {name}, and "
        raise RecipeError(f"{found}the model {name} cannot be loaded: {reason_of(error)}") from None
    check_all_loaded(model, loading, f"the model {name}")
    if extra := sorted(loading["unexpected_keys"]):
        raise RecipeError(
            f"the model {name} must only have weights that its config.json describes, got {listed(extra, most=1)}"
        )
    for key, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise RecipeError(f"the weights of the model {name} must be finite, got NaN or infinity in {key}")
    model.config.return_dict = True
    return model  # type: ignore[no-any-return]


def feature_extractor() -> Wav2Vec2FeatureExtractor:
    """A feature extractor that does not change waveforms at 16 kHz. The model prepares them for its encoder."""
    return Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=SAMPLE_RATE, padding_value=0.0, do_normalize=False, return_attention_mask=False
    )


def _encoder_config(settings: SpeechClassifierConfig) -> Any:
    return encoder_config(settings.backbone_config, "backbone_config")


def _classifier_config(settings: SpeechClassifierConfig) -> FrameClassifierConfig:
    return FrameClassifierConfig(**settings.classifier_config, id2label=settings.id2label, label2id=settings.label2id)


def _weights_elsewhere(settings: SpeechClassifierConfig, folder: Path, allow_download: bool) -> dict[str, Tensor]:
    name = settings.backbone["name"]
    if (folder / name).is_dir():
        name = str((folder / name).resolve())
    elif name.startswith((".", "/")):
        raise RecipeError(
            f"the encoder of the model {folder} must be at {folder / name}, which does not exist: put it there, or "
            "save the model with its encoder"
        )
    source = settings_of.Backbone(name=name, revision=settings.backbone.get("revision"))
    encoder = load_backbone(source, settings.clip_seconds, allow_download=allow_download)
    weights: dict[str, Tensor] = encoder.model.state_dict()
    if settings.backbone.get("weights") not in (None, checksum(weights)):
        raise RecipeError(
            f"the backbone {name} must be the encoder that the model {folder} was saved with, but its weights differ"
        )
    return weights


AutoConfig.register(SpeechClassifierConfig.model_type, SpeechClassifierConfig)
AutoFeatureExtractor.register(SpeechClassifierConfig, Wav2Vec2FeatureExtractor)
AutoModelForAudioClassification.register(SpeechClassifierConfig, SpeechClassifier)
