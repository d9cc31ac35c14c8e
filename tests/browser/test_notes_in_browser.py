"""Notes in a real browser: written on the card of a served run, shown there, in the table and in a later report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import saeviz
from saeviz.formats.notes import NotesFile
from saeviz_report import HtmlOptions
from saeviz_report.explorer.reporter import HtmlReport
from tests.browser.tab import CARD, NAMES, SETTLED, until
from tests.conftest import FAKE_RUN, FAKES
from tests.service import Served

pytestmark = pytest.mark.slow
TABLE = "view=features&plot=none&f.tier=1%7C2%7C3"
UNSELECTED = "view=features&plot=none&f.tier=0"
PRESS = "new KeyboardEvent('keydown', {key: %s, bubbles: true, cancelable: true})"


class Page:
    """A served run in the browser."""

    def __init__(self, browser: Any, url: str) -> None:
        self.browser = browser
        browser.open_url(url)
        browser.run(SETTLED)

    def go(self, address: str) -> None:
        self.browser.run(f"void (location.hash = {json.dumps(address)})")
        self.browser.run(SETTLED)

    def until(self, condition: str) -> None:
        until(self.browser, condition)

    def press(self, key: str, on: str = "#card .notes button") -> None:
        self.browser.run(f"document.querySelector({json.dumps(on)}).dispatchEvent({PRESS % json.dumps(key)})")

    def write(self, **fields: str) -> None:
        for name, text in fields.items():
            box = f"document.getElementById('note-{name}')"
            self.browser.run(f"{box}.value = {json.dumps(text)}, {box}.dispatchEvent(new Event('input'))")

    def save(self) -> None:
        self.browser.run("document.querySelector('.notes form').requestSubmit()")

    def text(self, selector: str) -> str:
        return self.browser.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def names(self) -> list[str]:
        return [name.split(" ")[0] for name in self.browser.run(NAMES)]


@pytest.fixture(scope="module")
def run(finished_copy: saeviz.Run) -> saeviz.Run:
    return finished_copy


@pytest.fixture(scope="module")
def served(run: saeviz.Run) -> Iterator[Served]:
    """With another labeler than that of the run."""
    run_file = run.dir.parent.parent / "other.toml"
    run_file.write_text(FAKE_RUN.replace('"fake-labeler"', '"metadata-terms"\ncolumns = ["colour"]'))
    served = Served(run.dir, "--plugins", FAKES, "--labeler", run_file, token=None)
    yield served
    served.stop()


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Page]:
    opened = Page(browser, served.url)
    yield opened
    refused = ("status of 409", "status of 422")  # which Chromium reports whatever a page does about it
    assert [text for text in browser.messages if not any(status in text for status in refused)] == []


def test_a_note_of_an_earlier_extractor_is_apart_and_can_be_taken_over(page: Page, run: saeviz.Run) -> None:
    feature = run.selected[9].feature
    NotesFile(run.dir / "notes.jsonl", "1a2b").write(feature, {"label": "white doves", "mark": "done"})
    page.browser.reload()
    page.browser.run(SETTLED)
    page.go(f"{TABLE}&feature={feature}")
    assert page.text("#card-title") == run.labels[feature].label
    assert "Noted of an earlier extractor" in page.text(".notes .earlier")
    assert "white doves; done" in page.browser.run("document.querySelector('.notes .earlier').innerText")
    page.browser.run("document.querySelector('[data-key=take]').click()")
    page.until("document.getElementById('card-title').textContent === 'white doves'")
    assert page.browser.run("document.querySelector('[data-key=take]')") is None
    assert saeviz.open_run(run.dir, plugins=[FAKES]).notes[feature].mark == "done"


def test_a_feature_is_marked_and_renamed_by_keyboard_and_found_again(page: Page, run: saeviz.Run) -> None:
    page.go(TABLE)
    name = page.names()[0]
    machine = run.labels[saeviz.Feature.parse(name)].label
    page.go(f"{TABLE}&feature={name}")
    page.press("w")
    page.until("document.querySelector('[data-key=\"mark.wrong\"]').ariaPressed === 'true'")
    page.press("e")
    page.write(label="crimson squares", text="<img src=x onerror=window.broken=1>\u202e\nsecond line")
    page.save()
    page.until("!document.querySelector('.notes form')")
    assert page.text("#card-title") == "crimson squares"
    assert machine in page.text("#card .notes")
    assert "<img src=x onerror=window.broken=1>\nsecond line" in page.text("#card .notes .words")
    page.go(f"{TABLE}&f.mark=wrong")
    assert page.names() == [name]
    assert "wrong" in page.text(".rows .row")
    assert f"labeler: {machine}" in page.text(".rows .row")
    page.browser.reload()
    page.browser.run(SETTLED)
    assert page.names() == [name]
    page.go(f"view=features&plot=none&q={machine} second".replace(" ", "%20"))
    assert page.names() == [name]
    assert page.browser.run("window.broken") is None
    noted = saeviz.open_run(run.dir, plugins=[FAKES]).notes[saeviz.Feature.parse(name)]
    assert (noted.label, noted.mark) == ("crimson squares", "wrong")


def test_a_feature_that_was_not_selected_and_has_no_label_is_named_by_hand_and_found_by_it(
    page: Page, run: saeviz.Run
) -> None:
    page.go(UNSELECTED)
    name = page.names()[-1]
    feature = saeviz.Feature.parse(name)
    assert feature not in run.labels
    page.go(f"{UNSELECTED}&feature={name}")
    page.press("e")
    page.write(label="velvet shadows")
    page.save()
    page.until("!document.querySelector('.notes form')")
    assert page.text("#card-title") == "velvet shadows"
    page.browser.reload()
    page.browser.run(SETTLED)
    page.go("view=features&plot=none&q=velvet")
    assert page.names() == [name]
    assert "velvet shadows" in page.text(".rows .row")
    assert run.name(feature) == "velvet shadows"


def test_what_somebody_else_wrote_meanwhile_is_shown_beside_mine(page: Page, run: saeviz.Run) -> None:
    page.go(TABLE)
    name = page.names()[1]
    page.go(f"{TABLE}&feature={name}")
    page.press("e")
    page.write(label="my own words")
    run.notes.write(name, label="their own words")
    page.save()
    page.until("document.querySelector('.notes .warnings')")
    assert "their own words" in page.text(".notes .warnings")
    assert page.browser.run("document.getElementById('note-label').value") == "my own words"
    assert run.name(name) == "their own words"
    page.save()
    page.until("!document.querySelector('.notes form')")
    assert run.name(name) == "my own words"


def test_what_is_being_written_outlives_another_card_and_escape_leaves_the_form_only(page: Page) -> None:
    page.go(TABLE)
    first, second = page.names()[2:4]
    page.go(f"{TABLE}&feature={first}")
    page.press("e")
    page.write(text="half a thought")
    page.go(f"{TABLE}&feature={second}")
    page.go(f"{TABLE}&feature={first}")
    assert page.browser.run("document.getElementById('note-text').value") == "half a thought"
    page.press("Escape", on="#note-text")
    page.until("!document.querySelector('.notes form')")
    assert page.browser.run(f"{CARD}.open")


def test_a_refusal_is_a_sentence_on_the_card(page: Page) -> None:
    page.go(TABLE)
    page.go(f"{TABLE}&feature={page.names()[4]}")
    page.press("e")
    page.write(label="one two three four five six")
    page.save()
    page.until("document.querySelector('.notes [role=status]').textContent.includes('6 words')")
    assert page.browser.run("!!document.querySelector('.notes form')")


def test_the_labeler_is_asked_again_and_earlier_labels_stay(page: Page, run: saeviz.Run) -> None:
    page.go(TABLE)
    name = page.names()[5]
    label = run.labels[saeviz.Feature.parse(name)].label
    page.go(f"{TABLE}&feature={name}")
    page.browser.run("document.querySelector('[data-key=again]').click()")
    page.until("document.querySelector('#card .notes').textContent.includes('Earlier labels')")
    assert label in page.text("#card .notes")
    named = page.text("#card-title")
    assert named != label
    page.browser.run("document.querySelector('[data-key=again]').click()")
    page.until("document.querySelector('#card .notes').textContent.includes('the same name again')")
    assert page.text("#card-title") == named
    page.browser.reload()
    page.browser.run(SETTLED)
    assert "Earlier labels" in page.text("#card .notes")
    page.go(UNSELECTED)
    page.go(f"{UNSELECTED}&feature={page.names()[0]}")
    assert not page.browser.run("!!document.querySelector('[data-key=again]')"), "only selected features are named"


def test_a_later_report_shows_notes_and_cannot_write_them(browser: Any, run: saeviz.Run, tmp_path: Path) -> None:
    feature = run.selected[6].feature
    run.notes.write(feature, label="teal circles", mark="done", text="as expected")
    report = HtmlReport(HtmlOptions(), saeviz.Context())
    page = Page(browser, report.write(run).as_uri())
    page.go(f"{TABLE}&f.mark=done")
    assert str(feature) in page.names()
    page.go(f"{TABLE}&feature={feature}")
    assert page.text("#card-title") == "teal circles"
    assert run.labels[feature].label in page.text("#card .notes")
    assert "as expected" in page.text("#card .notes")
    assert page.browser.run("document.querySelectorAll('.notes button').length") == 0
    assert browser.messages == []
