"""Figures about the package that anyone can make again: ``python -m benchmarks``."""
