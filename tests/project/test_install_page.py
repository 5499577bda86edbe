"""The page on installation matches the project's versions, extras, folders and messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from temporal_shift.ser.cli.options import CACHE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # a dependency of pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
IN_WORDS = ("test", "docs", "dev", "dev-all")  # the page describes these in words: users do not need them
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) \| .* \|$", PAGE, flags=re.MULTILINE))


def names_of(extra: str) -> set[str]:
    """The packages that an extra installs, and the extras of this package that it includes."""
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        name, inner = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()
        found |= set(inner.split(",")) if name == "temporal-shift" else {name}
    return found


def test_every_extra_has_a_row():
    assert set(ROWS) == set(EXTRAS)


def test_a_row_lists_the_packages_of_its_extra():
    for extra in set(EXTRAS).difference(IN_WORDS):
        assert {name.strip("`") for name in ROWS[extra].split(", ")} == names_of(extra), extra


@pytest.mark.parametrize("extra", ["dev", "dev-all"])
def test_an_extra_for_developers_includes_the_extras_that_the_page_names(extra):
    assert set(re.findall(r"`(\w+)`", ROWS[extra])) == names_of(extra) & set(EXTRAS)


def test_versions_match_the_requirements_and_the_ci_workflow():
    assert f"{PROJECT['requires-python'].removeprefix('>=')} or newer; the tests run on" in PAGE
    (torch,) = PROJECT["dependencies"]  # the layers require only torch
    (torch_of_recipe,) = bounds_of("torch")
    assert f"{torch.removeprefix('torch>=')} or newer, {torch_of_recipe} or newer with the extra `ser`" in PAGE
    *others, last = re.findall(r"[\d.]+", re.search(r"^ +python: \[(.*)\]$", WORKFLOW, flags=re.MULTILINE)[1])
    assert f"the tests run on {', '.join(others)} and {last}" in PAGE
    pinned = re.search(r"torch==([\d.]+)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))[1]
    assert f"the tests run with {pinned}" in PAGE


def bounds_of(package: str) -> set[str]:
    """The lower bounds of a package in all extras that name it."""
    requirements = [requirement for extra in EXTRAS.values() for requirement in extra]
    return {found[1] for each in requirements if (found := re.match(rf"{re.escape(package)}>=([\d.]+)", each))}


def pins_of(file: str) -> dict[str, str]:
    text = (ROOT / "constraints" / file).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", text, flags=re.MULTILINE))


def in_numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


LOWEST = {"lowest.txt": ["test"], "lowest-ser.txt": ["ser", "test", "bench", "onnx", "ray", "live", "demo"]}


@pytest.mark.parametrize(("file", "extras"), LOWEST.items(), ids=str)
def test_the_lowest_constraints_are_the_lower_bounds(file, extras):
    bounds: dict[str, list[str]] = {}
    for requirement in PROJECT["dependencies"] + [each for extra in extras for each in EXTRAS[extra]]:
        if found := re.match(r"([\w.-]+)>=([\d.]+)", requirement):
            bounds.setdefault(found[1], []).append(found[2])
    assert bounds
    pins = pins_of(file)
    for package, versions in bounds.items():
        highest = max(versions, key=in_numbers)
        assert f"{pins[package]}.".startswith(f"{highest}."), package


def test_the_newest_constraints_allow_each_lower_bound():
    pins = pins_of("newest.txt")
    for requirement in [each for extra in LOWEST["lowest-ser.txt"] for each in EXTRAS[extra]]:
        if found := re.match(r"([\w.-]+)>=([\d.]+)", requirement):
            assert in_numbers(pins[found[1]]) >= in_numbers(found[2]), requirement


def test_the_table_of_tested_versions_agrees_with_the_constraints_and_the_workflow():
    section = PAGE.split("## Tested versions")[1].split("\n## ")[0]
    header, _, *rows = [line.strip("|").split("|") for line in section.splitlines() if line.count("|") == 10]
    columns = [name.strip() for name in header]
    tested = [dict(zip(columns, (cell.strip() for cell in row), strict=True)) for row in rows]
    assert {row["Python"].rpartition(".")[0] for row in tested} >= {"3.10", "3.11", "3.12", "3.13"}
    for file in (*LOWEST, "newest.txt"):
        pins = pins_of(file)
        (row,) = [row for row in tested if row["PyTorch"] == pins["torch"]]
        assert f"`constraints/{file}` (PyTorch {pins['torch']})" in PROSE
        assert (row["Triton"], row["NumPy"]) == (pins["triton"], pins["numpy"])
        assert row["transformers"] == pins.get("transformers", "")
        assert f"-c constraints/{file}" in WORKFLOW
    for row in tested:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["date"])
        assert int(row["passed"]) > int(row["skipped"])
    for command in re.findall(r"`(pytest tests/[^`]*)`", section):
        assert command in WORKFLOW
        assert all((ROOT / path).exists() for path in command.split()[1:])


def test_lower_bounds_match_the_table_of_vulnerabilities():
    section = PAGE.split("### Security")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([\w, `-]+) \| ([\d., ]+) \| (.*) \|$", section, flags=re.MULTILINE)
    assert len(rows) == 9
    for names, versions, advisories in rows:
        assert re.search(r"CVE-\d{4}-\d+", advisories)
        for name, version in zip(names.split(", with")[0].split(", "), versions.split(", "), strict=True):
            assert bounds_of(name) == {version}, name


def test_the_folder_of_the_feature_cache_matches_the_page():
    assert f"`{CACHE.as_posix()}` below the current folder" in PAGE


def test_the_error_for_a_missing_extra_is_on_the_page():
    without = "import sys; sys.modules['typer'] = None; from temporal_shift.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert f"`{done.stderr.strip()}`" in PROSE
