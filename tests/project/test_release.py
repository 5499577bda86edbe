"""The version, the workflows and the issue forms are consistent with each other and with pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import temporal_shift

from .test_install_page import PROJECT

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
REPOSITORY = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")


def test_the_version_is_the_same_everywhere():
    assert PROJECT["dynamic"] == ["version"]  # setuptools reads temporal_shift.__version__
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == temporal_shift.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", temporal_shift.__version__)
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
    assert citation["abstract"] == PROJECT["description"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_pins_its_actions_by_commit(workflow):
    text = workflow.read_text(encoding="utf-8")
    parsed = yaml.safe_load(text)
    assert parsed["permissions"] == {"contents": "read"}
    writing = {name: job["permissions"] for name, job in parsed["jobs"].items() if "permissions" in job}
    allowed = {
        "release": {"publish": {"id-token": "write"}},
        "docs": {"deploy": {"id-token": "write", "pages": "write"}},
    }
    assert writing == allowed.get(workflow.stem, {})
    assert all("timeout-minutes" in job for job in parsed["jobs"].values())
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", action) for action in used)


def test_only_the_repository_of_the_project_publishes():
    jobs = {"release": "publish", "docs": "deploy"}
    for workflow, job in jobs.items():
        parsed = yaml.safe_load((ROOT / ".github" / "workflows" / f"{workflow}.yml").read_text(encoding="utf-8"))
        assert f"github.repository == '{REPOSITORY}'" in parsed["jobs"][job]["if"]


@pytest.mark.parametrize(
    ("tag", "repository", "problem"),
    [
        ("v9.9.9", REPOSITORY, f"the tag must be v{temporal_shift.__version__}, got v9.9.9"),
        ("", "fork/temporal-shift", "Repository in pyproject.toml must be https://github.com/fork/temporal-shift"),
    ],
)
def test_the_release_script_refuses_another_tag_or_repository(tag, repository, problem):
    done = subprocess.run(
        ["bash", str(ROOT / ".ci" / "release"), tag],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "GITHUB_REPOSITORY": repository},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.strip()) == (1, problem)


def test_ruff_has_one_version():
    files = [ROOT / "pyproject.toml", ROOT / ".pre-commit-config.yaml", *ROOT.glob(".ci/*"), *WORKFLOWS]
    texts = {path.name: path.read_text(encoding="utf-8") for path in files}
    pins = [(name, pin) for name, text in texts.items() for pin in re.findall(r"ruff[\w-]*==\S+|astral-sh/\S+", text)]
    assert [name for name, _ in pins] == ["pyproject.toml"]


def test_the_issue_form_for_bugs_asks_for_the_environment():
    for name in ("bug", "feature"):
        form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text(encoding="utf-8"))
        assert set(form) == {"name", "description", "labels", "body"}
        (field,) = [field for field in form["body"] if field["id"] == "environment"]
        assert "`python -m temporal_shift env`" in field["attributes"]["description"]
