"""Notes of a served run, over real HTTP: written, refused, seen by others, and never lost once confirmed."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from threading import Event
from types import SimpleNamespace

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

import saeviz
from saeviz.formats.labels import LabelLine
from saeviz.formats.notes import NotesFile
from saeviz.serving.limits import OneThread
from saeviz.serving.live import notes
from tests.conftest import FAKES
from tests.service import Served
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def run(finished_copy):
    return finished_copy


def connect(served):
    return httpx.Client(base_url=served.url, trust_env=False, timeout=PATIENCE, headers={"Origin": served.url})


@pytest.fixture(scope="module")
def client(served):
    with connect(served) as client:
        yield client


def put(client, feature, was="", **changes):
    return client.put("/api/notes", json={"feature": str(feature), "was": was, **changes})


def test_a_note_is_written_and_everybody_sees_it(client, run):
    feature = run.selected[0].feature
    answer = put(client, feature, label="crimson  <b>squares</b>", text="a\nb", mark="interesting")
    assert answer.status_code == 200, answer.text
    note = answer.json()["note"]
    assert (note["label"], note["text"], note["mark"]) == ("crimson squares", "a\nb", "interesting")
    assert client.get("/api/notes").json()["notes"][str(feature)] == note
    assert saeviz.open_run(run.dir, plugins=[FAKES]).notes[feature].version == note["version"]
    changed = put(client, feature, was=note["version"], mark="").json()["note"]
    assert (changed["label"], changed["mark"]) == ("crimson squares", "")


def test_notes_of_an_earlier_extractor_are_apart(client, run):
    feature = run.selected[3].feature
    written = NotesFile(run.dir / "notes.jsonl", "1a2b").write(feature, {"label": "white doves"})
    answer = client.get("/api/notes").json()
    assert str(feature) not in answer["notes"]
    assert answer["earlier"] == {str(feature): {**asdict(written), "version": written.version}}


def test_a_change_of_an_older_state_is_refused_with_the_newer_one(client, run):
    feature = run.selected[1].feature
    first = put(client, feature, label="green trees").json()["note"]
    run.notes.write(feature, label="green hills")
    refused = put(client, feature, was=first["version"], label="green walls")
    assert refused.status_code == 409
    newer = refused.json()["note"]
    assert newer["label"] == "green hills"
    assert "changed" in refused.json()["error"]
    assert put(client, feature, was=newer["version"], label="green walls").json()["note"]["label"] == "green walls"


def test_a_note_that_was_emptied_may_be_written_again(client, run):
    feature = run.selected[2].feature
    note = put(client, feature, mark="done").json()["note"]
    assert put(client, feature, was=note["version"], mark="").json()["note"]["version"] == ""
    assert str(feature) not in client.get("/api/notes").json()["notes"]
    assert put(client, feature, mark="wrong").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"{", 400, "the body must be"),
        (b"[" * 30_000, 400, "the body must be"),
        (b'{"feature": "layer1.cls/1"}', 400, "the body must be"),
        (b'{"feature": "layer1.cls/1", "was": "", "label": 3}', 400, "the body must be"),
        (b'{"feature": "layer1.cls/1", "was": "", "path": "/etc"}', 400, "no 'path'"),
        (b'{"feature": "../run.json", "was": ""}', 400, "not a feature"),
        (b'{"feature": "layer3.cls/1", "was": "", "mark": "done"}', 404, "no feature"),
        (b'{"feature": "layer1.cls/1", "was": "", "label": "one two three four five six"}', 422, "6 words"),
        (b'{"feature": "layer1.cls/1", "was": "", "mark": "nice"}', 422, "'nice' is not a mark"),
        (b" " * 70_000, 413, "65,536 bytes"),
    ],
)
def test_what_cannot_be_noted_is_refused_in_a_sentence(client, body, status, reason):
    answer = client.put("/api/notes", content=body)
    assert answer.status_code == status, answer.text
    assert reason in answer.json()["error"]


def test_pages_of_others_write_nothing(client, run):
    feature = str(run.selected[3].feature)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        body = {"feature": feature, "was": "", "mark": "done"}
        assert client.put("/api/notes", json=body, headers=headers).status_code == 403
        assert client.post("/api/relabel", params={"feature": feature}, headers=headers).status_code == 403
    assert feature not in client.get("/api/notes").json()["notes"]


def test_no_labeler_is_asked_without_a_grant(client, run):
    assert client.get("/api/run").json()["can_name_again"] is False
    answer = client.post("/api/relabel", params={"feature": str(run.selected[0].feature)})
    assert answer.status_code == 422
    assert "--labeler RUN_FILE" in answer.json()["error"]


def test_a_confirmed_note_outlives_kill_9(run):
    served = Served(run.dir, "--plugins", FAKES, token=None)
    confirmed = {}
    with connect(served) as client:
        for chosen in run.selected[4:9]:
            confirmed[chosen.feature] = put(client, chosen.feature, text="seen").json()["note"]["version"]
    served.stop(kill=True)
    notes = saeviz.open_run(run.dir, plugins=[FAKES]).notes
    assert {feature: notes[feature].version for feature in confirmed} == confirmed


def test_a_labeler_that_nobody_waits_for_any_more_is_still_the_only_one_and_its_label_counts(monkeypatch):
    feature = saeviz.Feature.parse("layer1.cls/0")
    may_answer, forgotten = Event(), []

    def ask_again(live, feature):
        may_answer.wait()
        return LabelLine(feature, "key", saeviz.FeatureLabel("other words"))

    monkeypatch.setattr(notes, "ask_again", ask_again)
    run = SimpleNamespace(forget_labels=lambda: forgotten.append(feature))
    live = SimpleNamespace(run=run, with_store=OneThread(), has=lambda feature: True)
    [relabel] = [one.endpoint for one in notes.routes(live) if one.path == "/api/relabel"]

    async def asked():
        query = f"feature={feature}".encode()
        return await relabel(Request({"type": "http", "query_string": query, "headers": []}))

    async def leave_and_come_back():
        first = asyncio.ensure_future(asked())
        await asyncio.sleep(0)
        first.cancel()
        [left] = await asyncio.gather(first, return_exceptions=True)
        assert isinstance(left, asyncio.CancelledError)
        second = asyncio.ensure_future(asked())
        await asyncio.sleep(0)
        assert second.done()
        assert isinstance(refused := second.exception(), HTTPException)
        assert "the labeler is being asked about layer1.cls/0" in refused.detail
        may_answer.set()
        while not forgotten:
            await asyncio.sleep(0)

    try:
        asyncio.run(leave_and_come_back())
    finally:
        may_answer.set()
