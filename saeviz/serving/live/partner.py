"""The feature of another served run that belongs to one of this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from saeviz.comparison.result import Comparison
from saeviz.formats.plain import plain
from saeviz.serving.live.answers import Json
from saeviz.serving.live.asked import FEATURE, feature_of
from saeviz.serving.live.endpoint import NUMBER, TEXT, Endpoint, fields, maybe
from saeviz.values.features import Feature
from saeviz.values.keys import features_of

if TYPE_CHECKING:
    from saeviz.serving.live.opened import Live


class Other:
    """The other of two served runs: where its viewer is, and which of its features are partners, once compared.

    `state` is `comparing`, `found` or, with the reason `why`, `failed`.
    """

    def __init__(self, live: Live, viewer: str) -> None:
        self.live, self.viewer = live, viewer
        self.state, self.why = "comparing", ""
        self._partners: Mapping[Feature, Mapping[str, Any]] | None = None

    def found(self, comparison: Comparison, run: str) -> None:
        """Take over the partners of the features of `run`, `a` or `b`; of the same SAEs a feature is its own."""
        if comparison.kind == "features":
            table = comparison.tables[f"partners_{run}"]
            rows = table[["partner", "r", "mutual"]].to_dict("records")
            self._partners = dict(zip(features_of(table), rows, strict=True))
        self.state = "found"

    def failed(self, why: str) -> None:
        """There is no comparison."""
        self.state, self.why = "failed", why

    def partner_of(self, feature: Feature) -> dict[str, Any] | None:
        """The partner with its label, r between the two and whether it is mutual; None without one."""
        if self.state != "found":
            return None
        known: Mapping[str, Any] = {"partner": str(feature), "r": None, "mutual": 1}
        row = known if self._partners is None else self._partners.get(feature)
        partner = None if row is None else Feature.parse(row["partner"])
        if row is None or partner is None or not self.live.has(partner):
            return None
        label, r = self.live.run.name(partner), plain(row["r"])
        return {"feature": str(partner), "label": label, "r": r, "mutual": bool(row["mutual"])}


def partner_of(live: Live, feature: Feature) -> dict[str, Any]:
    """What belongs to a feature in the other run; None where a run is served alone."""
    if (other := live.other) is None:
        return {"feature": str(feature), "other": None}
    about = {"name": other.live.name, "viewer": other.viewer, "state": other.state, "why": other.why}
    return {"feature": str(feature), "other": {**about, "partner": other.partner_of(feature)}}


_PARTNER = fields(feature=TEXT, label=TEXT, r=maybe(NUMBER), mutual={"type": "boolean"})
_STATE = {"enum": ["comparing", "found", "failed"]}
_OTHER = fields(name=TEXT, viewer=TEXT, state=_STATE, why=TEXT, partner=maybe(_PARTNER))


def routes(live: Live) -> list[Endpoint]:
    """`/api/partner?feature=layer11.cls/4711`."""

    async def partner(request: Request) -> Response:
        feature = feature_of(live, request)
        reads = live.other.live.with_store if live.other else live.with_store
        return Json(await reads(partner_of, live, feature))

    summary = "The feature of the other run that belongs to a feature, if two runs are served."
    answer = fields(feature=TEXT, other=maybe(_OTHER))
    return [Endpoint("/api/partner", partner, summary, query=[FEATURE], answer=answer)]
