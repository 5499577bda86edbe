"""A small cache, encoded once for all tests of this folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from transformers import HubertConfig, HubertModel

from temporal_shift.ser import config
from temporal_shift.ser.corpora.manifest import Manifest
from temporal_shift.ser.encoders import pretrained
from temporal_shift.ser.encoders.feature_cache import cached_features

from ..tiny import TINY
from .small_cache import COUNT, FEATURES, manifest_in


@pytest.fixture(scope="session")
def backbone(tmp_path_factory) -> config.Backbone:
    folder = tmp_path_factory.mktemp("hubert")
    torch.manual_seed(0)
    HubertModel(HubertConfig(**TINY)).save_pretrained(folder)
    return config.Backbone(name=str(folder))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory) -> Manifest:
    folder = tmp_path_factory.mktemp("audio")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        soundfile.write(folder / f"{number}.wav", generator.uniform(-0.5, 0.5, 3000 + 10 * number), 16000)
    return manifest_in(folder)


@pytest.fixture(scope="session")
def whole(manifest, backbone, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in every test: the number of threads changes the rounding
    cached_features(manifest, backbone, FEATURES, root)
    torch.set_num_threads(threads)
    return root


@pytest.fixture
def root(whole, tmp_path) -> Path:
    """A copy of the complete cache, which tests may damage."""
    return shutil.copytree(whole, tmp_path / "root")


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """The batch sizes of the encoder's forward passes."""
    sizes: list[int] = []
    encode = pretrained.PretrainedEncoder.encode

    def counted(self, clips):
        sizes.append(len(clips))
        return encode(self, clips)

    monkeypatch.setattr(pretrained.PretrainedEncoder, "encode", counted)
    return sizes
