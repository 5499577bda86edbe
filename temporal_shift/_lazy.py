"""Exports that are imported on first use, so that ``temporal-shift --help`` does not wait for torch."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_exports(
    package: str, exports: Mapping[str, Sequence[str]], *, register: Sequence[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    Args:
        package: The package's ``__name__``.
        exports: For each module of the package, the names that the package exports from it.
        register: Modules that are imported before an exported name is, for their side effects.
    """
    namespace = vars(sys.modules[package])
    module_of = {name: module for module, names in exports.items() for name in names}

    def getattr_(name: str) -> object:
        if name in exports:
            return import_module(f".{name}", package)
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        for module in register:
            import_module(f".{module}", package)
        namespace[name] = value = getattr(import_module(f".{module_of[name]}", package), name)
        return value

    def dir_() -> list[str]:
        special = {name for name in namespace if name.startswith("__")}
        return sorted({*special, *module_of, *(module for module in exports if module.isidentifier())})

    return getattr_, dir_
