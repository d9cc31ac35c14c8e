"""Lists in a real browser: saved, opened again, named, and never a formula."""

from __future__ import annotations

import json

import pytest

import saeviz
from tests.browser.tab import Tab

pytestmark = pytest.mark.slow
OPEN = """(() => {
  const files = new DataTransfer(), input = document.querySelector('input[type=file]');
  files.items.add(new File([%s], 'list.json'));
  input.files = files.files;
  input.dispatchEvent(new Event('change'));
})()"""
SAVED = "saeviz.save = (name, kind, text) => { window.saved = [name, text]; }, 1"
NAME = "document.querySelector('[aria-label=\"Name of the list\"]').value"
TEXT = "document.querySelector('main').textContent"


@pytest.fixture(scope="module")
def run(finished_copy: saeviz.Run) -> saeviz.Run:
    finished_copy.notes.write(finished_copy.selected[0].feature, label="crimson squares", text="=1+1")
    return finished_copy


def open_file(tab: Tab, text: str) -> None:
    before = tab.run(TEXT)
    tab.run(OPEN % json.dumps(text))
    tab.until(f"{TEXT} !== {json.dumps(before)}")
    tab.settle()


def test_a_list_that_was_saved_is_opened_again(tab: Tab, run: saeviz.Run) -> None:
    features = [str(chosen.feature) for chosen in run.selected[:3]]
    tab.go("view=lists")
    open_file(tab, json.dumps([{"feature": name} for name in features]))
    assert tab.run("saeviz.state.get('view')") == "lists"
    tab.enter("warm things", '[aria-label="Name of the list"]')
    tab.run(SAVED)
    tab.click("JSON")
    name, text = tab.run("window.saved")
    assert name == "warm-things.json"
    saved = json.loads(text)
    assert [one["feature"] for one in saved["features"]] == features
    assert (saved["features"][0]["label"], saved["features"][0]["labelers_label"]) == (
        "crimson squares",
        run.labels[run.selected[0].feature].label,
    )
    tab.click("Delete")
    open_file(tab, text)
    assert tab.run(NAME) == "warm things"
    open_file(tab, text)
    assert tab.run(NAME) == "warm things 2"
    tab.click("CSV")
    rows = tab.run("window.saved")[1].split("\r\n")
    assert ",'=1+1," in rows[1]


def test_features_of_another_run_are_left_out_and_counted(tab: Tab, run: saeviz.Run) -> None:
    feature = str(run.selected[0].feature)
    tab.go("view=lists")
    more = [{"feature": name} for name in ("layer77.cls/1", "__proto__", f"{feature}x", "layer1.cls/")]
    open_file(tab, json.dumps({"list": "<b>mixed</b>", "features": [{"feature": feature}, *more]}))
    assert "Left out: 4 features not in this run" in tab.run(TEXT)
    assert tab.run(NAME) == "<b>mixed</b>"
    assert "1 feature" in tab.run(TEXT)
    assert "1 features" not in tab.run(TEXT)


@pytest.mark.parametrize("text", ["{", "3", "null", '{"features": {}}', "[]", "feature,label"])
def test_what_is_no_list_is_refused_in_a_sentence(tab: Tab, text: str) -> None:
    tab.go("view=lists")
    open_file(tab, text)
    assert "There is no list yet" in tab.run(TEXT)
    assert "not a list" in tab.run(TEXT) or "No feature of this list" in tab.run(TEXT)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\n=1", "\uff1d1+1", "\uff0b1"])
def test_no_text_is_a_formula(tab: Tab, text: str) -> None:
    assert tab.run(f"saeviz.field({json.dumps(text)})").lstrip('"').startswith("'")
    assert tab.run("saeviz.field(-1.5)") == "-1.5"
