"""A feature: on which images it fires, and how strongly."""

from __future__ import annotations

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from saeviz.formats.packed import fewest_bytes, packed
from saeviz.serving.live.asked import Json, feature_of
from saeviz.serving.live.opened import Live
from saeviz.values.features import Feature

SHOWN = 24
"""Top images that an answer names."""


def images_of(live: Live, feature: Feature) -> dict[str, Any]:
    """The images on which a feature fires, most active first: places among the images of the run, and activations."""
    values = live.run.activations(feature)
    where = np.flatnonzero(values)
    where = where[np.argsort(-values[where], kind="stable")]
    items = live.run.items
    return {
        "feature": str(feature),
        "items": packed(where.astype(fewest_bytes(len(items)))),
        "values": packed(values[where].astype(np.float32)),
        "top": [{"item": items[place].item_id, "activation": float(values[place])} for place in where[:SHOWN]],
    }


def routes(live: Live) -> list[Route]:
    """`/api/feature?feature=layer11.cls/4711`."""

    async def feature(request: Request) -> Response:
        return Json(await live.with_store(images_of, live, feature_of(live, request)))

    return [Route("/api/feature", feature)]
