"""``temporal-shift ser ...``: what a person types. A module for each kind of command, all hung on ``app``."""

from . import caches, corpora, experiments, live, models, predict
from .app import app

__all__ = ["app", "caches", "corpora", "experiments", "live", "models", "predict"]
