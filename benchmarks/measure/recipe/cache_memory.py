"""Peak memory of filling the feature cache, for a corpus and for one with several times as many utterances."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest, write_manifest

from ..measurements import OURS, Goal, Measurement
from .rows import PEAK

LONGER = 4  # size of the longer corpus / size of the shorter one
ENOUGH = 40  # utterances; a batch of the encoder has at most 16
MAX_GIBIBYTES, MAX_GROWTH = 2, 1.1


@dataclass(frozen=True)
class Peak:
    """Peak memory in bytes of a process that encodes a corpus, on the host and, if used, on the GPU."""

    encoder: str
    utterances: int
    resident: int
    on_gpu: int | None


def peaks_of(name: str, experiment: config.Experiment, corpus: Manifest, folder: Path) -> Iterator[Peak]:
    """Fill the cache below ``folder`` for a corpus and for one ``LONGER`` times as long, and yield the two peaks.

    On systems other than Linux, it fills no cache and yields nothing.

    The shorter one is a part of the corpus. If this part would have fewer than ``ENOUGH`` utterances, the shorter one
    is the corpus, and the longer one repeats its files.
    """
    if not Path("/proc/self/status").exists():
        return
    part = replace(corpus, utterances=corpus.utterances[::LONGER])
    has_parts = len(part.utterances) >= ENOUGH
    for manifest in (part, corpus) if has_parts else (corpus, repeated(corpus, LONGER)):
        write_manifest(manifest, folder / "manifest.jsonl")
        settings = {key: getattr(experiment, key).model_dump() for key in ("backbone", "features")}
        arguments = [json.dumps(settings), str(folder / "manifest.jsonl"), str(folder / "cache")]
        done = subprocess.run(
            [sys.executable, "-c", _ENCODE, *arguments], stdout=subprocess.PIPE, text=True, check=True
        )
        yield Peak(name, len(manifest.utterances), **json.loads(done.stdout.splitlines()[-1]))


def repeated(manifest: Manifest, times: int) -> Manifest:
    """A corpus with each utterance repeated ``times`` times under new ids."""
    utterances = [replace(each, id=f"{each.id}-{time}") for time in range(times) for each in manifest.utterances]
    return replace(manifest, utterances=tuple(utterances))


# Script of the new process. VmHWM belongs to this process; ru_maxrss of getrusage includes the parent before exec.
_ENCODE = """
import json
import sys
from pathlib import Path

import torch

from temporal_shift.ser import config
from temporal_shift.ser.encoders.feature_cache import cached_features
from temporal_shift.ser.corpora.manifest import read_manifest

settings, manifest, root = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
backbone, features = config.Backbone(**settings["backbone"]), config.Features(**settings["features"])
cached_features(read_manifest(manifest), backbone, features, root)
lines = Path("/proc/self/status").read_text().splitlines()
resident = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
on_gpu = torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None
print(json.dumps({"resident": resident, "on_gpu": on_gpu}))
"""


def measurements_of(peaks: Sequence[Peak]) -> list[Measurement]:
    """A measurement for each peak, with goals for the peaks and for the ratio of the two corpora."""
    rows = []
    for peak in peaks:
        figures = {"utterances": peak.utterances, **({} if peak.on_gpu is None else {"on_gpu": peak.on_gpu})}
        setting = f"{peak.encoder}, {peak.utterances} utterances"
        row = Measurement(PEAK, {OURS: [float(peak.resident)]}, setting, unit="B", figures=figures)
        row.goals = [Goal(f"GiB at the peak of encoding, {setting}", peak.resident / 2**30, MAX_GIBIBYTES)]
        rows.append(row)
    for shorter, longer in zip(peaks[::2], peaks[1::2], strict=True):
        what = f"peak memory, {longer.utterances} / {shorter.utterances} utterances, {longer.encoder}"
        rows[-1].goals.append(Goal(what, longer.resident / shorter.resident, MAX_GROWTH))
    return rows
