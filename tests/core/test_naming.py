"""A label is one line of a few words, whoever gives it."""

from __future__ import annotations

from math import inf, nan

import pytest

import saeviz
from saeviz.pipeline.run import Plan
from saeviz.values.label_words import checked, label_words


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("red doors", "red doors"),
        ("red\ndoors\r\n", "red doors"),
        ("red\u2028doors", "red doors"),
        ("**Red** `doors`.", "Red doors"),
        ("# Red doors", "Red doors"),
        ("- red doors", "red doors"),
        ("<b>red</b> doors<br/>", "red doors"),
        ("&lt;i&gt;rock &amp; roll", "rock & roll"),
        ("[red doors](http://example.org)", "red doors"),
        ("“red doors”", "red doors"),
        ("«porte rouge»", "porte rouge"),
        ('the "red" door', "the 'red' door"),
        ("\x1b[31mred\x1b[0m doors", "red doors"),
        ("red\u202e doors\u2066", "red doors"),
        ("\ufeffred\u200bdoors\x00", "reddoors"),
        ("children's toys", "children's toys"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("two-tone C# 3D", "two-tone C# 3D"),
    ],
)
def test_what_is_around_the_words_is_taken_away(given, label):
    assert label_words(given) == label
    assert checked(saeviz.FeatureLabel(given)).label == label


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("one two three four five six seven eight", "8 words"),
        ("a\nb\nc\nd\ne\nf", "6 words"),
        ("x" * 81, "81 characters"),
        ("***", "label is empty"),
        ("?!", "no word"),
    ],
)
def test_what_is_no_name_is_refused(given, problem):
    with pytest.raises(ValueError, match=problem):
        checked(saeviz.FeatureLabel(given))


def test_the_other_texts_are_lines_too():
    label = saeviz.FeatureLabel("", "a\nb\x1b[0m", ("x\u202ey", "\n"), "why\x00", nan, {"k": 1})
    assert checked(label) == saeviz.FeatureLabel("", "a b", ("xy",), "why", None, {"k": 1})
    assert checked(saeviz.FeatureLabel("  ")).label == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"label": None},
        {"label": "x", "description": 3},
        {"label": "x", "elements": "abc"},
        {"label": "x", "elements": (1,)},
        {"label": "x", "confidence": "high"},
    ],
)
def test_fields_of_another_type_are_a_mistake_of_the_plugin(fields):
    with pytest.raises(TypeError, match=r".+"):
        checked(saeviz.FeatureLabel(**fields))


@pytest.mark.parametrize("confidence", [-0.1, 1.5, inf])
def test_a_confidence_is_a_share(confidence):
    with pytest.raises(ValueError, match="confidence"):
        checked(saeviz.FeatureLabel("x", confidence=confidence))


PLUGIN = """
import saeviz

NAMES = ["**red**\\ndoors", "one two three four five six seven eight", "<b>doors</b>\\x1b[31m", "plain"]


class Wild:
    def __init__(self, options, context):
        self.n = 0

    def label(self, request):
        self.n += 1
        return saeviz.FeatureLabel(NAMES[self.n % 4])


@saeviz.hookimpl
def saeviz_labelers():
    yield saeviz.LabelerSpec(name="wild", summary="for a test", factory=Wild)
"""


@pytest.mark.slow
def test_no_labeler_gets_another_kind_of_label_into_the_run(fake_run, tmp_path):
    plugin = tmp_path / "wild.py"
    plugin.write_text(PLUGIN)
    run = saeviz.run(
        fake_run,
        settings=["labeler.use=wild"],
        plugins=["module:saeviz.testing.fakes", str(plugin)],
        plan=Plan(last="label"),
    )
    names = {label.label for label in run.labels.values()}
    assert names == {"red doors", "doors", "plain"}
    assert run.failures
    assert all("no usable name: label has 8 words" in failure.error for failure in run.failures)
