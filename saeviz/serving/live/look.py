"""An image of one's own: its features, where they fire, the ratings that are predicted, and its nearest images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from saeviz.contract.combined import field_of_view
from saeviz.contract.roles import HeatmapExtractor
from saeviz.formats.packed import packed_map
from saeviz.formats.plain import one_line
from saeviz.pictures.rgb import to_rgb
from saeviz.pipeline.blame import blaming
from saeviz.results.heatmaps import heatmaps_by
from saeviz.serving.bodies import whole_body
from saeviz.serving.limits import OneThread, Room
from saeviz.serving.live.answers import NAMED, Json, named, strongest
from saeviz.serving.live.endpoint import NUMBER, TEXT, WHOLE, Endpoint, fields, listed, maybe
from saeviz.serving.live.heatmaps import MAP_FIELDS
from saeviz.serving.live.nearest import NEAREST_FIELDS, by_embeddings, by_features, embedding_of
from saeviz.serving.live.opened import Live
from saeviz.serving.live.predicted import PREDICTIONS, Predictions
from saeviz.values.decoding import open_picture, size_of
from saeviz.values.errors import DataError, ImageError
from saeviz.values.features import Feature, FeatureSpace
from saeviz.values.images import ImageItem

if TYPE_CHECKING:
    from PIL.Image import Image

    from saeviz.typing import CSR

MOST_BYTES = 32 * 2**20
MOST_PIXELS = 64_000_000
SHORTER_SIDE = 1536
"""Pixels from which on a larger picture differs in no way that a model can see: models look at some 224 to 518."""
STRONGEST = 12
"""Features of each space that an answer has."""
LOOKED = fields(
    size=listed(WHOLE),
    spaces=listed(
        fields(
            "`largest` is the feature's largest activation on an image of the run, `map` where it fires.",
            space=TEXT,
            n_active=WHOLE,
            features=listed(fields(**NAMED, value=NUMBER, largest=NUMBER, map=maybe(fields(**MAP_FIELDS)))),
            maps_missing=TEXT,
        )
    ),
    ratings=PREDICTIONS,
    ratings_missing=TEXT,
    **NEAREST_FIELDS,
)


def picture_in(data: bytes) -> tuple[Image, tuple[int, int]]:
    """The decoded picture of an uploaded file, reduced if it is much larger than a model sees, and its own size.

    `ImageError` says why it cannot be read, or that it is too large.
    """
    size = size_of(data)
    if size is not None and size[0] * size[1] > MOST_PIXELS:
        raise ImageError(
            f"the picture has {size[0]} x {size[1]} pixels; at most {MOST_PIXELS:,} are read: make it smaller"
        )
    try:
        picture = open_picture(data)
        factor = min(picture.size) // SHORTER_SIDE
        return to_rgb(picture).reduce(factor) if factor > 1 else picture, picture.size
    except ImageError as error:
        raise ImageError(f"the picture cannot be read: {error}") from error


def features_in(live: Live, item: ImageItem) -> dict[FeatureSpace, CSR]:
    """The features of an image that is not of the run, `[1, n_features]` in each space."""
    known = live.run.spaces
    found: dict[FeatureSpace, CSR] = {}
    for who, extractor in live.extractors():
        with blaming(who, log=None):
            found.update((batch.space, batch.matrix) for batch in extractor.extract([item]))
    if missing := [str(space) for space in known if space not in found]:
        raise DataError(f"the extractor gives no features of this picture in {', '.join(missing)}")
    return {space: found[space] for space in known}


def strongest_in(live: Live, item: ImageItem, rows: Mapping[FeatureSpace, CSR]) -> list[dict[str, Any]]:
    """The strongest features of each space with their maps; see `LOOKED`. The model looks once for each SAE."""
    best = {
        space: [(space.feature(int(row.indices[one])), float(row.data[one])) for one in strongest(row.data, STRONGEST)]
        for space, row in rows.items()
    }
    by_site: dict[int | str, list[Feature]] = {}
    for space, own in best.items():
        by_site.setdefault(space.site, []).extend(feature for feature, _ in own)
    maps = {site: maps_of(live, item, features) for site, features in by_site.items()}
    return [
        {
            "space": str(space),
            "n_active": int(rows[space].nnz),
            "features": [
                named(live.run, one, value=value, largest=live.largest(one), map=maps[space.site][0].get(one))
                for one, value in own
            ],
            "maps_missing": maps[space.site][1],
        }
        for space, own in best.items()
    ]


def maps_of(live: Live, item: ImageItem, features: list[Feature]) -> tuple[dict[Feature, dict[str, Any]], str]:
    """Where features of one SAE fire on a picture, as heatmaps are stored; the reason if there are no maps."""
    if not features:
        return {}, ""
    try:
        who, extractor = live.extractor_of(live.spaces[features[0].space_name])
        if not isinstance(extractor, HeatmapExtractor):
            return {}, f"{who} makes no heatmaps"
        with blaming(who, log=None):
            maps = heatmaps_by(extractor, who, features, item, fine=False)
            box = field_of_view(extractor, item, features[0])
    except DataError as error:
        return {}, one_line(str(error))
    size = item.open().size
    return {feature: packed_map(values, box, size) for feature, values in maps.items()}, ""


def routes(live: Live) -> list[Endpoint]:
    """`POST /api/look` with an image file."""
    room, predictions = Room(), Predictions(live.run)
    decoding = OneThread()  # one picture at a time is in memory, and the model is free in the meantime

    def by_model(picture: Image) -> tuple[Any, list[dict[str, Any]], Any]:
        item = ImageItem("your image", lambda: picture)
        rows = features_in(live, item)
        return rows, strongest_in(live, item, rows), embedding_of(live, item)

    def by_store(rows: Mapping[FeatureSpace, CSR], embedding: Any) -> dict[str, Any]:
        nearest = by_embeddings(live.run, embedding) if embedding is not None else None
        return {
            "ratings": predictions.of(rows),
            "ratings_missing": predictions.missing,
            **(nearest or by_features(live.run, rows)),
        }

    async def look(request: Request) -> Response:
        body = await whole_body(request, room, MOST_BYTES)
        if not body:
            raise HTTPException(400, "send an image file as the body of the request")
        picture, size = await decoding(picture_in, bytes(body))
        rows, spaces, embedding = await live.with_model(by_model, picture)
        rest = await live.with_store(by_store, rows, embedding)
        return Json({"size": list(size), "spaces": spaces, **rest})

    file = {"image/*": {"type": "string", "contentMediaType": "image/*", "description": "An image file."}}
    summary = "Look at an image that is not of the run; it is kept nowhere."
    return [Endpoint("/api/look", look, summary, method="POST", body=file, answer=LOOKED)]
