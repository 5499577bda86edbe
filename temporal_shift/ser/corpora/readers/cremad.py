"""Read CREMA-D: 91 actors, twelve sentences, six emotions. The label is the emotion that an actor was asked for."""

from __future__ import annotations

import re

from ... import config
from ..folders import corpus_folder
from ..label_maps import shipped_map
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest, named_files
from ..published_counts import PublishedAudio, PublishedCounts

# actor, sentence, emotion, intensity; some copies of the corpus have the file 1040_ITH_SAD_X
NAME = re.compile(r"(?P<actor>\d{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(XX?|LO|MD|HI)", re.ASCII)

PUBLISHED = PublishedCounts.by_class(
    "CREMA-D",
    91,
    {"angry": 1271, "disgust": 1271, "fearful": 1271, "happy": 1271, "neutral": 1087, "sad": 1271},
    PublishedAudio(16_000, hours=5.3, seconds=(1.268, 5.005)),
)


def read_cremad(corpus: config.Corpus) -> Manifest:
    """Read files such as ``AudioWAV/1001_DFA_ANG_XX.wav``. The corpus folder can also be ``AudioWAV`` itself.

    ``1076_MTI_SAD_XX``, which has no sound according to the publishers, is included.

    Raises:
        RecipeError: If there is no speech, the name of a recording does not match ``NAME``, two different recordings
            have the same name, or as :func:`.audio_files` and :func:`.make_manifest`.
    """
    root = corpus_folder(corpus.path)
    root = root / "AudioWAV" if (root / "AudioWAV").is_dir() else root
    problems: list[str] = []
    files = named_files(root, NAME, "1001_DFA_ANG_XX.wav", problems)
    rows = [Row(path.stem, path, name["emotion"], name["actor"]) for path, name in files]
    return make_manifest(rows, problems, corpus, own=shipped_map("cremad"))
