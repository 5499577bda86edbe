"""Benchmarks of the package: ``python -m benchmarks``. Not part of the wheel."""
