"""Zip archives of corpus trees, and malicious ones."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path


def zipped(root: Path, top: str = "") -> bytes:
    """An archive of the files ``*.*`` below a folder. Their names begin with ``top``, for example ``"corpus/"``."""
    return zip_of({top + path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.*"))})


def zip_of(files: Mapping[str, bytes], *, mode: int = 0, flags: int = 0) -> bytes:
    """An archive of ``files`` by name. Every entry has the Unix mode ``mode`` and the flags ``flags``."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
            info.flag_bits |= flags  # in the central directory, which readers use
    return content.getvalue()
