"""What is served: the run, and which parts of it are not there."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from saeviz.contract.roles import TextAligned
from saeviz.formats.plain import one_line
from saeviz.serving.live.answers import Json
from saeviz.serving.live.endpoint import TEXT, WHOLE, Endpoint, Schema, fields, listed, maybe
from saeviz.serving.live.opened import Live
from saeviz.values.errors import SaevizError

DIRECTION: Schema = {"type": "string", "enum": ["higher", "lower"]}


def about(live: Live) -> dict[str, Any]:
    """The run in a few words: what it has, what is missing and why, and whether its labeler may be asked."""
    return {
        "name": live.name,
        "spaces": [{"name": name, "n": space.n_features} for name, space in live.spaces.items()],
        "n_images": len(live.run.items),
        "ratings": list(live.run.ratings),
        "missing": missing(live),
        "has_words": has_words(live),
        "can_name_again": live.labeler is not None,
        "other": live.other.live.name if live.other else None,
    }


def missing(live: Live) -> dict[str, str]:
    """Why there are no pictures, and why there is no model; empty if both are there as far as known."""
    found = {}
    if reason := live.session.dataset.without_images:
        found["pictures"] = one_line(reason)
    try:
        for config in live.session.config.extractors:
            live.session.grants.check(config)
    except SaevizError as error:
        found["model"] = one_line(str(error))
    return found


def has_words(live: Live) -> bool:
    """Whether words can find features: the extractor has a text encoder. Builds it, without loading a model."""
    try:
        return isinstance(live.run.component("extractor"), TextAligned)
    except SaevizError:
        return False


ABOUT = fields(
    name=TEXT,
    spaces=listed(fields(name=TEXT, n=WHOLE)),
    n_images=WHOLE,
    ratings=listed(TEXT),
    has_words={"type": "boolean", "description": "Whether /api/words can find features."},
    missing={"type": "object", "description": "Why a part is not there, by its name.", "additionalProperties": TEXT},
    can_name_again={"type": "boolean"},
    other=maybe(TEXT),
)


def columns(live: Live) -> dict[str, dict[str, dict[str, Any]]]:
    """What is known of the columns of the run's tables."""
    return {
        table: {
            name: {"description": info.description, "unit": info.unit, "better": info.better}
            for name, info in infos.items()
        }
        for table, infos in live.run.columns.items()
    }


_COLUMN = fields(
    "What a column is; '' or null where its scorer does not say.", description=TEXT, unit=TEXT, better=maybe(DIRECTION)
)
COLUMNS: Schema = {
    "type": "object",
    "description": "By the table, such as scores or correlations, the columns by their names.",
    "additionalProperties": {"type": "object", "additionalProperties": _COLUMN},
}


def routes(live: Live) -> list[Endpoint]:
    """`/api/run` and `/api/columns`."""

    async def run(_: Request) -> Response:
        return Json(await live.with_store(about, live))

    async def described(_: Request) -> Response:
        return Json(await live.with_store(columns, live))

    return [
        Endpoint("/api/run", run, "What is served.", answer=ABOUT),
        Endpoint("/api/columns", described, "What the columns of its tables mean.", answer=COLUMNS),
    ]
