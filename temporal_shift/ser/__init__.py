"""Speech emotion recognition with pre-trained encoders. Requires the extra ``ser``.

``from temporal_shift.ser import SpeechClassifier`` registers the class with Hugging Face's ``Auto`` classes and
``pipeline``. ``import temporal_shift.ser`` does not register it, to keep the command line fast.
"""

from typing import TYPE_CHECKING

from .._lazy import lazy_exports

if TYPE_CHECKING:
    from .inference.recognizer import Recognizer
    from .models.speech_classifier import SpeechClassifier
    from .models.speech_classifier_config import SpeechClassifierConfig

__all__ = ["Recognizer", "SpeechClassifier", "SpeechClassifierConfig"]

if not TYPE_CHECKING:  # type checkers read the imports above
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "inference.recognizer": ["Recognizer"],
            "models.speech_classifier": ["SpeechClassifier", "SpeechClassifierConfig"],
        },
        register=["models.hf_pipeline"],
    )
