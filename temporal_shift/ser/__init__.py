"""The recipe: speech emotion recognition on pre-trained encoders. Needs the extra ``ser``.

``from temporal_shift.ser import SpeechClassifier`` makes the models of this package known to Hugging Face's ``Auto``
classes and its ``pipeline``. It takes seconds, and happens only then: the command line tells wrong arguments at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .inference.recognizer import Recognizer
    from .models.speech_classifier import SpeechClassifier, SpeechClassifierConfig

_HOMES = {
    "Recognizer": "inference.recognizer",
    "SpeechClassifier": "models.speech_classifier",
    "SpeechClassifierConfig": "models.speech_classifier",
}

__all__ = ["Recognizer", "SpeechClassifier", "SpeechClassifierConfig"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import_module(".models.hf_pipeline", __name__)  # which registers them
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
