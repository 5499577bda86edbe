"""Benchmarks of the package, run by ``python -m benchmarks``; not a part of the wheel."""
