"""The corpora that can be downloaded: addresses, published checksums, licences, and the settings to read them.

A comment names the source of an address or a licence that is not from the page of the corpus. The checksums and sizes
are from public repositories that quote Zenodo's records. They were not compared with these records. The addresses were
not tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ... import config


@dataclass(frozen=True, slots=True)
class DownloadableCorpus:
    """A zip archive of a corpus, and the settings to read the unpacked corpus."""

    name: str
    title: str
    url: str
    page: str  # where the publishers describe the corpus
    licence: str
    licence_url: str
    citation: str
    reader: str  # a value of ``corpus.reader``
    checksum: str | None = None  # published checksum with its algorithm: "md5:..."
    size: int | None = None  # published size of the archive in bytes
    path: str = "."  # what the reader reads, relative to the unpacked folder
    audio: str | None = None  # folder of the recordings, relative to the unpacked folder
    options: Mapping[str, Any] = field(default_factory=dict)  # other options of the reader

    def settings(self, folder: Path) -> config.Corpus:
        """The settings to read the corpus from its unpacked folder."""
        audio = None if self.audio is None else folder / self.audio
        return config.Corpus.checked(reader=self.reader, path=folder / self.path, audio=audio, **self.options)


_EMODB = DownloadableCorpus(
    name="emodb",
    title="EmoDB, the Berlin Database of Emotional Speech",
    url="http://emodb.bilderbar.info/download/download.zip",  # audEERING's audb, emodb 1.4.1
    page="http://emodb.bilderbar.info/docu/",
    licence="CC0 1.0, as republished by audEERING",  # github.com/audeering/datasets, datasets/emodb/README.md
    licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
    citation="Burkhardt, Paeschke, Rolfes, Sendlmeier, Weiss: A database of German emotional speech. Interspeech 2005",
    reader="emodb",
)

_RAVDESS = DownloadableCorpus(
    name="ravdess",
    title="RAVDESS, the Ryerson Audio-Visual Database of Emotional Speech and Song: speech, audio only",
    url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip?download=1",
    page="https://zenodo.org/records/1188976",
    licence="CC BY-NC-SA 4.0: not for commercial use",
    licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
    citation="Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song. PLoS ONE 13(5), 2018",
    reader="ravdess",
    checksum="md5:bc696df654c87fed845eb13823edef8a",  # quoted by several public repositories
    size=208_468_073,
)

_CREMAD = DownloadableCorpus(
    name="crema-d",
    title="CREMA-D, the Crowd-sourced Emotional Multimodal Actors Dataset: audio only",
    # issue 15 of CREMA-D: an author recommends this mirror if GitHub's git-lfs quota is used up
    url="https://gitlab.com/cs-cooper-lab/crema-d-mirror/-/archive/main/crema-d-mirror-main.zip?path=AudioWAV",
    page="https://github.com/CheyneyComputerScience/CREMA-D",
    licence="Open Database License 1.0; contents under the Database Contents License 1.0",  # README of the repository
    licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
    citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D. IEEE Transactions on Affective Computing 5(4), 2014",
    reader="cremad",
)

_NEMO = DownloadableCorpus(
    name="nemo",
    title="nEMO, emotional speech in Polish",
    url="https://github.com/amu-cai/nEMO/archive/refs/heads/main.zip",  # audeering/datasets, nemo/1.0.0/download.py
    page="https://github.com/amu-cai/nEMO",
    licence="CC BY-NC-SA 4.0: not for commercial use",  # README of the repository
    licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
    citation="Christop: nEMO: Dataset of Emotional Speech in Polish. 2024, arXiv:2404.06292",
    reader="table",
    path="data.tsv",
    audio="samples",
    options={"columns": {"path": "file_id", "label": "emotion", "speaker": "speaker_id"}},
)

_SUBESCO = DownloadableCorpus(
    name="subesco",
    title="SUBESCO, the SUST Bangla Emotional Speech Corpus",
    url="https://zenodo.org/records/4526477/files/SUBESCO.zip?download=1",
    page="https://zenodo.org/records/4526477",
    licence="CC BY 4.0",  # github.com/audeering/datasets, subesco/1.0.0/convert.py
    licence_url="https://creativecommons.org/licenses/by/4.0/",
    citation="Sultana: SUST Bangla Emotional Speech Corpus (SUBESCO). 2021, doi:10.5281/zenodo.4526477",
    reader="folder",
    checksum="md5:13d702cf944bf54d70d66bffc036ed7a",  # quoted by one public repository
    size=1_664_512_929,
    options={"pattern": "{gender}_{number}_{speaker}_S_{sentence}_{label}_{take}"},
)

SOURCES: dict[str, DownloadableCorpus] = {
    corpus.name: corpus for corpus in (_EMODB, _RAVDESS, _CREMAD, _NEMO, _SUBESCO)
}
