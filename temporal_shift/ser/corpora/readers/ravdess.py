"""Read the speech of RAVDESS: 24 actors, two sentences, eight emotions."""

from __future__ import annotations

import re

from ... import config
from ..folders import corpus_folder
from ..label_maps import shipped_map
from ..manifest import Manifest
from ..manifest_builder import Row, make_manifest, named_files
from ..published_counts import PublishedAudio, PublishedCounts

# modality (03: audio alone), channel (01: speech), emotion, intensity, statement, repetition, actor
NAME = re.compile(r"(?P<modality>\d\d)-(?P<channel>\d\d)-(?P<emotion>\d\d)-\d\d-\d\d-\d\d-(?P<actor>\d\d)", re.ASCII)

PUBLISHED = PublishedCounts.by_class(
    "RAVDESS",
    24,
    {
        "neutral": 96,
        **dict.fromkeys(("calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"), 192),
    },
    PublishedAudio(48_000, hours=1.5, seconds=(2.94, 5.27)),
)


def read_ravdess(corpus: config.Corpus) -> Manifest:
    """Read the audio-only speech, ``Actor_*/03-01-05-01-02-01-12.wav``, at any depth of folders.

    Songs and videos are skipped. A speaker is named like ``Actor_12``; odd numbers are men, even numbers are women.

    Raises:
        RecipeError: If there is no speech, the name of a recording does not match ``NAME``, two different recordings
            have the same name, or as :func:`.audio_files` and :func:`.make_manifest`.
    """
    problems: list[str] = []
    files = named_files(corpus_folder(corpus.path), NAME, "03-01-05-01-02-01-12.wav", problems)
    rows = [
        Row(path.stem, path, name["emotion"], f"Actor_{name['actor']}")
        for path, name in files
        if (name["modality"], name["channel"]) == ("03", "01")
    ]
    genders = {row.speaker: "fm"[int(row.speaker[-2:]) % 2] for row in rows}
    return make_manifest(rows, problems, corpus, own=shipped_map("ravdess"), genders=genders)
