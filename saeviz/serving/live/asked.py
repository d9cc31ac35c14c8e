"""What a request asks for, looked up among what the run has."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request

from saeviz.formats.plain import quoted
from saeviz.serving.live.endpoint import Query
from saeviz.serving.live.opened import Live
from saeviz.values.errors import DataError
from saeviz.values.features import Feature
from saeviz.values.images import ImageItem

FEATURE = Query("feature", "a feature, such as layer11.cls/4711")
ITEM = Query("item", "the id of an image of the run")


def feature_of(live: Live, request: Request) -> Feature:
    """The feature that `?feature=` names; status 400 where it names none, 404 where the run has no such feature."""
    return feature_in(live, FEATURE.text(request))


def feature_in(live: Live, text: str) -> Feature:
    """The feature that a text names; raises as `feature_of`."""
    try:
        feature = Feature.parse(text)
    except DataError as error:
        raise HTTPException(400, f"feature={quoted(text)} is not a feature; an example is layer11.cls/4711") from error
    if not live.has(feature):
        raise HTTPException(404, f"this run has no feature {quoted(text)}")
    return feature


def item_of(live: Live, request: Request) -> ImageItem:
    """The image whose id `?item=` is; status 404 where there is none."""
    text = ITEM.text(request)
    item = live.item(text)
    if item is None:
        raise HTTPException(404, f"this run has no image {quoted(text)}")
    return item
