"""``temporal-shift ser ...``: what a person types. A module for each kind of command, all hung on ``app``."""

from . import cache, corpora, experiments, live, models, predict
from .app import app

__all__ = ["app", "cache", "corpora", "experiments", "live", "models", "predict"]
