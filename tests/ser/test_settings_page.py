"""The page docs/settings.md is generated from the descriptions of the settings, and every setting has one."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from temporal_shift.ser import config
from temporal_shift.ser.config import Experiment, Section, read_experiment

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "settings.md").read_text(encoding="utf-8")
SECTIONS = [each for each in vars(config).values() if isinstance(each, type) and issubclass(each, Section)]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_setting_has_a_description_and_is_on_the_page(section):
    for key, field in section.model_fields.items():
        assert re.fullmatch(r"[A-Z`].*[.]", field.description or ""), key
        assert f"| `{key}` | " in PAGE


def test_the_page_of_the_settings_is_the_output_of_its_script():
    assert runpy.run_path(str(DOCS / "generate_settings.py"))["page"]() == PAGE, "run python docs/generate_settings.py"


def test_the_example_on_the_page_is_a_valid_experiment(tmp_path):
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "experiment.yaml").write_text(example)
    experiment = read_experiment(tmp_path / "experiment.yaml")
    assert set(experiment.model_fields_set) < set(Experiment.model_fields)
    assert experiment.models[1].baseline == ("LSTM",)
