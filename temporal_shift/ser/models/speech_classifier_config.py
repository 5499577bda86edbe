"""The configuration of a speech classifier."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from ..audio.resampling import SAMPLE_RATE
from .saved_settings import CheckedConfig, SpeechClassifierSettings, hugging_face_fields, validate_labels


class SpeechClassifierConfig(CheckedConfig, PreTrainedConfig):
    """The configuration of a :class:`~temporal_shift.ser.models.speech_classifier.SpeechClassifier`.

    Args:
        backbone_config: The encoder's own configuration. Default: wav2vec 2.0 base.
        classifier_config: The fields of :class:`~temporal_shift.ser.models.frame_classifier.FrameClassifierConfig`.
            Default: a Transformer without a shift.
        clip_seconds: Length that waveforms are cut or zero-padded to, in seconds. Default: 7.5, as in the paper.
        layer: The encoder's layer that the classifier reads: ``"last"`` (default), an index, or ``"weighted"``; see
            :class:`temporal_shift.ser.config.Backbone`.
        normalize: Whether each clip is scaled to zero mean and unit variance. Default: ``False``.
        average: Number of neighbouring frames that are averaged into one. Default: 1.
        backbone: ``name`` and ``revision`` of the pre-trained encoder. A relative path starts from this model's folder.
            If the encoder is not saved with the model, ``weights`` is the checksum of its weights. Default: empty.
        holds_backbone: Whether the encoder's weights are saved with the model (default), or read from ``backbone``.
        provenance: The facts of the training for the model card. Default: empty.
        temporal_shifts: The shifts that :func:`~temporal_shift.add_temporal_shift` added to the model, as
            :func:`~temporal_shift.surgery.temporal_shift_settings` returns them. Default: none.
        id2label: The names of the classes; ``label2id`` is their inverse. Default: ``LABEL_0``, ``LABEL_1`` and so on.
        num_labels: Number of classes. Default: the number of names in ``id2label``, or 2.
        kwargs: Common fields of Hugging Face configurations, such as ``output_hidden_states``.

    Raises:
        RecipeError: If a value is invalid or a key is unknown.

    Example:
        >>> config = SpeechClassifierConfig({"model_type": "hubert"}, {"blocks": "conv"}, num_labels=4)
        >>> config.clip_samples, config.num_labels
        (120000, 4)
    """

    model_type = "temporal-shift-speech-classifier"
    settings_class = SpeechClassifierSettings

    def __init__(
        self,
        backbone_config: dict[str, Any] | None = None,
        classifier_config: dict[str, Any] | None = None,
        clip_seconds: float = 7.5,
        layer: int | str = "last",
        normalize: bool = False,
        average: int = 1,
        backbone: dict[str, Any] | None = None,
        holds_backbone: bool = True,
        provenance: dict[str, Any] | None = None,
        temporal_shifts: dict[str, dict[str, Any]] | None = None,
        *,
        id2label: dict[Any, str] | None = None,
        label2id: dict[str, Any] | None = None,
        num_labels: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.backbone_config = {"model_type": "wav2vec2"} if backbone_config is None else backbone_config
        self.classifier_config = {} if classifier_config is None else classifier_config
        self.clip_seconds = clip_seconds
        self.layer = layer
        self.normalize = normalize
        self.average = average
        self.backbone = {} if backbone is None else backbone
        self.holds_backbone = holds_backbone
        self.provenance = {} if provenance is None else provenance
        self.temporal_shifts = {} if temporal_shifts is None else temporal_shifts
        id2label, label2id = validate_labels(id2label, label2id, num_labels)
        super().__init__(id2label=id2label, label2id=label2id, **hugging_face_fields(kwargs, self.model_type))
        self.validate_fields()

    @property
    def clip_samples(self) -> int:
        """Length of a clip in samples at 16 kHz."""
        return round(self.clip_seconds * SAMPLE_RATE)
