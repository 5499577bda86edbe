"""The configuration of a speech classifier."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from ..audio.resampling import SAMPLE_RATE


class SpeechClassifierConfig(PreTrainedConfig):
    """The configuration of a :class:`~temporal_shift.ser.models.speech_classifier.SpeechClassifier`.

    Args:
        backbone_config: The encoder's own configuration.
        classifier_config: The fields of :class:`~temporal_shift.ser.models.frame_classifier.FrameClassifierConfig`.
        clip_seconds: Length that waveforms are cut or zero-padded to. Default: the paper's.
        layer: See :class:`temporal_shift.ser.config.Backbone`.
        normalize: Likewise.
        average: See :class:`temporal_shift.ser.config.Features`.
        backbone: ``name`` and ``revision`` of the pre-trained encoder; a folder is relative to this model's folder.
        holds_backbone: Whether the encoder's weights are saved with the model; if not, they are read from ``backbone``.
        provenance: The facts of the training that the model card states.
    """

    model_type = "temporal-shift-speech-classifier"

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
        **kwargs: Any,
    ) -> None:
        self.backbone_config = backbone_config or {"model_type": "wav2vec2"}
        self.classifier_config = classifier_config or {}
        self.clip_seconds = clip_seconds
        self.layer = layer
        self.normalize = normalize
        self.average = average
        self.backbone = backbone or {}
        self.holds_backbone = holds_backbone
        self.provenance = provenance or {}
        super().__init__(**kwargs)

    @property
    def clip_samples(self) -> int:
        """``clip_seconds`` at 16 kHz."""
        return round(self.clip_seconds * SAMPLE_RATE)
