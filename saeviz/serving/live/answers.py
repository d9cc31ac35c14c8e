"""What answers of several endpoints are made of: JSON, features with their labels, and the largest of many values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import Response

from saeviz.results.run import Run
from saeviz.serving.live.endpoint import TEXT
from saeviz.values.features import Feature

if TYPE_CHECKING:
    from saeviz.typing import FloatArray, IntArray

NAMED = {"feature": TEXT, "label": TEXT}
"""The fields of a feature and its label, '' without one."""


class Json(Response):
    """A JSON answer; any text of the run fits into it."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes of the answer."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def strongest(values: FloatArray, n: int) -> IntArray:
    """The places of the `n` largest values, largest first; of equal ones the first."""
    order: IntArray = np.argsort(-values, kind="stable")
    return order[:n]


def named(run: Run, feature: Feature, **values: Any) -> dict[str, Any]:
    """A feature with its name and what is known of it here."""
    return {"feature": str(feature), "label": run.name(feature), **values}
