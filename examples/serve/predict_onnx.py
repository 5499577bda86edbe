"""Emotions of recordings from an exported model, without PyTorch: ``python predict_onnx.py MODEL.onnx FILE...``

Needs ``pip install onnxruntime soundfile soxr``. Write the model with ``temporal-shift ser export FOLDER MODEL.onnx``.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile
import soxr


def main(model: str, files: list[str]) -> None:
    session = onnxruntime.InferenceSession(model)
    facts = session.get_modelmeta().custom_metadata_map
    labels, rate = json.loads(facts["labels"]), int(facts["sample_rate"])
    window = round(float(facts["window_seconds"]) * rate)
    for file in files:
        samples, file_rate = soundfile.read(file, dtype="float32", always_2d=True)
        wave = soxr.resample(samples.mean(axis=1), file_rate, rate)
        wave = np.pad(wave, (0, -len(wave) % window)).reshape(-1, window)  # all of it, one window after the other
        probabilities = session.run(None, {"waveform": wave})[0].mean(axis=0)
        shares = " ".join(f"{label} {share:.3f}" for label, share in zip(labels, probabilities, strict=True))
        print(f"{file}: {labels[probabilities.argmax()]} ({shares})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
