"""Predict emotions with an exported model, without PyTorch: ``python predict_onnx.py MODEL.onnx FILE...``

pip install onnxruntime soundfile soxr
temporal-shift ser export FOLDER MODEL.onnx  # where temporal-shift is installed

Files can have any sample rate and number of channels. The probabilities equal the output of ``temporal-shift ser
predict``, up to rounding. Use that command for files that may be damaged: it also detects cut-off recordings.
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
        if len(wave) < rate // 10:
            sys.exit(f"{file}: must be at least 0.1 s long, got {len(wave) / rate:g} s")
        wave = np.pad(wave, (0, max(0, window - len(wave))))
        starts = list(range(0, len(wave) - window + 1, round(window / 2)))
        if starts[-1] + window < len(wave):
            starts.append(len(wave) - window)  # the last window ends with the recording
        runs = [session.run(None, {"waveform": wave[None, start : start + window]})[0][0] for start in starts]
        probabilities = np.mean(runs, axis=0)
        shares = " ".join(f"{label} {share:.3f}" for label, share in zip(labels, probabilities, strict=True))
        print(f"{file}: {labels[probabilities.argmax()]} ({shares})")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
