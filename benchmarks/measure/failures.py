"""Handling of failed rows: on a GPU or the interpreter, the other rows are still measured."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Found = TypeVar("Found")


class Failures:
    """Prints and collects the errors of rows, and raises one error for all of them at the end.

    On the device "cpu", errors are raised immediately.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._errors: list[str] = []

    def caught(self, make: Callable[[], Iterable[Found]]) -> Iterator[Found]:
        """Yield the results of ``make`` until it fails. Its error is raised on the device "cpu", or else collected."""
        if self._device == "cpu":
            yield from make()
            return
        try:
            yield from make()
        except Exception as error:
            traceback.print_exc()
            self._errors.append(f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")

    def check(self) -> None:
        """Raise a RuntimeError if an error was collected."""
        if self._errors:
            raise RuntimeError(f"failed benchmarks: {len(self._errors)} ({'; '.join(self._errors)})")
