"""The model card, also with hostile names, labels and notes."""

from __future__ import annotations

import re

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from temporal_shift.ser import SpeechClassifierConfig
from temporal_shift.ser.models.model_card import model_card

from ..small_model import PROVENANCE

HOSTILE = "a|b\n---\nlicense: mit\n\n# <script>alert(1)</script> ![x](https://a.b/c.png) [d](https://a.b) `e` {{ f }}"


@pytest.fixture
def card() -> ModelCard:
    """A card with hostile text in its names, a label and the note."""
    labels = (HOSTILE, "calm")
    corpus = {**PROVENANCE["corpus"], "name": HOSTILE, "note": HOSTILE, "classes": dict.fromkeys(labels, 10)}
    hostile = {**PROVENANCE, "corpus": corpus, **dict.fromkeys(("experiment", "model", "fold"), HOSTILE)}
    config = SpeechClassifierConfig(backbone={"name": f"a/b{HOSTILE}"}, provenance=hostile)
    return ModelCard(str(model_card(config, labels)))


def test_a_card_renders_names_labels_and_notes_as_text(card):
    page = MarkdownIt("commonmark").enable("table").render(card.text)
    expected = {"h1", "h2", "p", "ul", "li", "pre", "code", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"</?([a-z0-9]+)", page)) == expected
    assert page.count("<h1>") == 1
    assert (
        page.count("# &lt;script&gt;alert(1)&lt;/script&gt; ![x](https://a.b/c.png) [d](https://a.b) `e` {{ f }}") > 5
    )


def test_no_name_adds_a_field_to_the_front_matter_of_a_card(card):
    assert set(card.data.to_dict()) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert card.data.model_name == " ".join(HOSTILE.split())
    assert card.text.lstrip().startswith("# a")


@pytest.mark.parametrize(("name", "is_stated"), [("facebook/hubert-base-ls960", True), ("/home/me/hubert", False)])
def test_a_card_names_its_base_model_only_if_it_is_on_the_hub(name, is_stated):
    card = model_card(
        SpeechClassifierConfig(backbone={"name": name}, provenance=PROVENANCE), PROVENANCE["corpus"]["classes"]
    )
    assert card.data.base_model == (name if is_stated else None)


def test_a_card_without_provenance_does_not_say_whether_the_encoder_was_trained():
    text = str(model_card(SpeechClassifierConfig(), ("calm",)))
    assert "frozen" not in text
    assert "fine-tuned" not in text
    assert "Corpus, protocol and metrics are not known" in text


@pytest.mark.parametrize(("seeds", "over"), [({}, "folds and speakers"), ({"seeds": 3}, "folds, speakers and seeds")])
def test_a_card_explains_its_intervals(seeds, over):
    figure = {"mean": 0.5, "interval": [0.4, 0.6]}
    provenance = {**PROVENANCE, "all_folds": {"folds": 5, "wa": figure, "ua": figure, **seeds}}
    text = str(model_card(SpeechClassifierConfig(provenance=provenance), PROVENANCE["corpus"]["classes"]))
    assert f"95 % intervals over {over}." in text
    (row,) = (line for line in text.splitlines() if line.startswith("| all 5 folds"))
    assert ("3 seeds" in row) == bool(seeds)


def test_a_card_without_intervals_does_not_explain_them():
    text = str(model_card(SpeechClassifierConfig(provenance=PROVENANCE), PROVENANCE["corpus"]["classes"]))
    assert PROVENANCE["all_folds"] is None
    assert "UA is the mean recall over classes." in text
    assert "brackets" not in text
