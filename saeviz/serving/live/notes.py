"""What people note about features, and asking the labeler again for one of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from saeviz.formats.labels import LabelLine
from saeviz.pipeline.naming.again import name_again
from saeviz.serving.bodies import whole_body
from saeviz.serving.limits import OneThread, Room
from saeviz.serving.live.answers import Json
from saeviz.serving.live.asked import FEATURE, feature_in, feature_of
from saeviz.serving.live.endpoint import NUMBER, TEXT, Endpoint, Schema, fields, listed, maybe
from saeviz.serving.live.opened import Live
from saeviz.values.errors import ConfigError
from saeviz.values.features import Feature
from saeviz.values.notes import MARKS, Note, NoteChangedError

MOST_BYTES = 2**16
"""Of the body of a request."""
MARK: Schema = {"enum": ["", *MARKS]}
FIELDS = ("label", "description", "mark", "text")
_FORM = (
    'the body must be {"feature": "layer11.cls/4711", "was": VERSION, "label": TEXT, ...}; '
    f"there are {', '.join(FIELDS)}, each a text or left out"
)


def notes_of(live: Live) -> dict[str, Any]:
    """All notes by feature, and the labels that the labeler gave since the viewer was written."""
    return {
        "marks": list(MARKS),
        "notes": {str(feature): as_json(note) for feature, note in live.run.notes.items()},
        "earlier": {str(feature): as_json(note) for feature, note in live.run.notes.earlier.items()},
        "labels": {str(feature): label_of(line) for feature, line in live.named_again.items()},
    }


def write_note(live: Live, asked: Any) -> tuple[int, dict[str, Any]]:
    """Note what a request asks for: status and answer, 409 with the newer note if its writer has seen an older one."""
    given = asked if isinstance(asked, dict) else {}
    if not all(isinstance(value, str) for value in given.values()) or not {"feature", "was"} <= given.keys():
        raise HTTPException(400, _FORM)
    if unknown := given.keys() - {"feature", "was", *FIELDS}:
        raise HTTPException(400, f"a note has no {min(unknown)[:80]!a}; {_FORM}")
    feature = feature_in(live, given["feature"])
    try:
        note = live.run.notes.write(feature, was=given["was"], **{name: given[name] for name in FIELDS & given.keys()})
    except NoteChangedError as error:
        return 409, {"error": str(error), "note": as_json(error.note)}
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return 200, {"note": as_json(note)}


def ask_again(live: Live, feature: Feature) -> LabelLine:
    """Have the labeler of the granted run file name a feature again."""
    if live.labeler is None:
        raise ConfigError("no labeler may be asked: `saeviz serve` was started without --labeler RUN_FILE")
    session = live.labeler()
    try:
        line = name_again(session, feature)
    finally:
        session.close()
    live.named_again[feature] = line
    return line


def as_json(note: Note) -> dict[str, str]:
    """A note with its version, for the next change."""
    return {**asdict(note), "version": note.version}


def label_of(line: LabelLine) -> dict[str, Any]:
    """A label, and those that the feature had before."""
    label = line.label
    return {
        "label": label.label,
        "description": label.description,
        "why": label.why,
        "elements": list(label.elements),
        "confidence": label.confidence,
        "earlier": [{"label": one.label, "description": one.description} for one in line.earlier],
    }


def routes(live: Live) -> list[Endpoint]:
    """`GET` and `PUT /api/notes`, and `POST /api/relabel?feature=layer11.cls/4711`."""
    room, with_notes, with_labeler = Room(), OneThread(), OneThread()
    named: list[Feature] = []

    async def notes(_: Request) -> Response:
        return Json(await with_notes(notes_of, live))

    async def write(request: Request) -> Response:
        asked = _parsed(await whole_body(request, room, MOST_BYTES))
        status, answer = await with_notes(write_note, live, asked)
        return Json(answer, status)

    async def again(feature: Feature) -> LabelLine:
        try:
            line = await with_labeler(ask_again, live, feature)
            await live.with_store(live.run.forget_labels)
        finally:
            named.clear()
        return line

    async def relabel(request: Request) -> Response:
        feature = feature_of(live, request)
        if named:
            raise HTTPException(409, f"the labeler is being asked about {named[0]}; wait until it has answered")
        named.append(feature)
        line = await asyncio.shield(again(feature))  # the label is written even if nobody waits for it any more
        return Json({"label": label_of(line)})

    every = fields(marks=listed(TEXT), notes=_by_feature(_NOTE), earlier=_by_feature(_NOTE), labels=_by_feature(_LABEL))
    asked = "Ask the labeler for another label of a feature, if `saeviz serve` was started with --labeler."
    return [
        Endpoint("/api/notes", notes, "What people noted about features, and new labels.", answer=every),
        Endpoint("/api/notes", write, _WRITING, method="PUT", body=_BODY, answer=fields(note=_NOTE)),
        Endpoint("/api/relabel", relabel, asked, method="POST", query=[FEATURE], answer=fields(label=_LABEL)),
    ]


def _by_feature(schema: Schema) -> Schema:
    return {"type": "object", "additionalProperties": schema, "description": "By feature."}


_NOTE = fields(**dict.fromkeys((*FIELDS, "time", "version"), TEXT))
_EARLIER = fields(label=TEXT, description=TEXT)
_LABEL = fields(
    label=TEXT,
    description=TEXT,
    why=TEXT,
    elements=listed(TEXT),
    confidence=maybe(NUMBER),
    earlier=listed(_EARLIER),
)
_WRITING = (
    "Note something about a feature: what is left out stays as it is, and '' removes it. `was` is the `version` of the "
    "note that the writer has seen, '' if there was none; status 409, with the newer `note`, if it was changed since."
)
_BODY: Mapping[str, Schema] = {
    "application/json": {
        "type": "object",
        "required": ["feature", "was"],
        "properties": {**dict.fromkeys(("feature", "was", "label", "description", "text"), TEXT), "mark": MARK},
        "additionalProperties": False,
    }
}


def _parsed(body: bytearray) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, _FORM) from error
