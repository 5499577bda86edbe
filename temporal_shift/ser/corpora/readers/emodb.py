"""Read EmoDB, the Berlin database of emotional speech: ten actors, ten German sentences, seven emotions."""

from __future__ import annotations

import re

from ... import config
from ..folders import corpus_folder
from ..label_maps import shipped_map
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest, named_files
from ..published_counts import PublishedAudio, PublishedCounts

NAME = re.compile(r"(?P<speaker>\d\d)[ab]\d\d(?P<emotion>[A-Z])[a-z]?", re.ASCII)  # speaker, sentence, emotion, version
_GENDERS = {
    **dict.fromkeys(("03", "10", "11", "12", "15"), "m"),
    **dict.fromkeys(("08", "09", "13", "14", "16"), "f"),
}

PUBLISHED = PublishedCounts.by_class(
    "EmoDB",
    10,
    {"angry": 127, "bored": 81, "disgust": 46, "fearful": 69, "happy": 71, "sad": 62, "neutral": 79},
    PublishedAudio(16_000, hours=0.4, seconds=(1.2255, 8.97825)),  # EmoBox, data/emodb/data.seg.audmap
)


def read_emodb(corpus: config.Corpus) -> Manifest:
    """Read files such as ``wav/03a01Fa.wav``. The corpus folder can also be ``wav`` itself.

    Raises:
        RecipeError: If there is no speech, the name of a recording does not match ``NAME``, two different recordings
            have the same name, or as :func:`.audio_files` and :func:`.make_manifest`.
    """
    root = corpus_folder(corpus.path)
    root = root / "wav" if (root / "wav").is_dir() else root
    problems: list[str] = []
    files = named_files(root, NAME, "03a01Fa.wav", problems)
    rows = [Row(path.stem, path, name["emotion"], name["speaker"]) for path, name in files]
    return make_manifest(rows, problems, corpus, own=shipped_map("emodb"), genders=_GENDERS)
