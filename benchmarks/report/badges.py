"""README's badges, generated from the metadata of the package and the committed records."""

from __future__ import annotations

from importlib.metadata import metadata
from pathlib import Path
from xml.sax.saxutils import escape

from temporal_shift.ser.utils.atomic_files import atomic_write

from ..measure import record_file

CHARACTER, PADDING = 6.6, 7  # pixels, for 11 px sans-serif


def write(folder: Path) -> list[Path]:
    """Write one SVG file per badge, atomically."""
    paths = []
    for name, (label, value) in found().items():
        paths.append(folder / f"{name}.svg")
        with atomic_write(paths[-1]) as file:
            file.write(drawn(label, value).encode())
    return paths


def found() -> dict[str, tuple[str, str]]:
    """Label and value of each badge."""
    about = metadata("temporal-shift")
    torch = next(need for need in about.get_all("Requires-Dist") if need.startswith("torch>="))
    lines = record_file.read(record_file.FOLDER / "package.jsonl")
    wheel = next(line for line in lines if line["what"] == "wheel")
    return {
        "python": ("Python", about["Requires-Python"].replace(">=", "≥ ")),
        "torch": ("PyTorch", torch.removeprefix("torch").replace(">=", "≥ ")),
        "licence": ("licence", about["License-Expression"]),
        "wheel": (f"wheel at {wheel['commit'][:7]}", f"{wheel['figures']['bytes'] / 1e3:.0f} kB"),
    }


def drawn(label: str, value: str) -> str:
    """An SVG with two fields. ``textLength`` fits the texts to their fields with any font."""
    left, right = (len(text) * CHARACTER + 2 * PADDING for text in (label, value))
    width = left + right
    texts = "".join(
        f'<text x="{x + PADDING:.1f}" y="14" textLength="{span - 2 * PADDING:.1f}">{escape(text)}</text>'
        for x, span, text in ((0, left, label), (left, right, value))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.1f}" height="20" role="img">'
        f"<title>{escape(label)}: {escape(value)}</title>"
        f'<clipPath id="round"><rect width="{width:.1f}" height="20" rx="3"/></clipPath>'
        f'<g clip-path="url(#round)"><rect width="{width:.1f}" height="20" fill="#3b4148"/>'
        f'<rect x="{left:.1f}" width="{right:.1f}" height="20" fill="#0072B2"/></g>'
        f'<g fill="#fff" font-family="sans-serif" font-size="11">{texts}</g></svg>\n'
    )
