"""Whether names hold on images that the labeler did not see, as values."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import saeviz

VERDICTS = ("confirmed", "fails", "undecided", "not judged")


def judgements_of(run: saeviz.Run) -> dict[saeviz.Feature, Mapping[str, Any]]:
    """The judgement of each name that a judge looked at: its row of the table, None for what could not be measured."""
    return {
        saeviz.feature_of(row): {
            name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()
        }
        for row in run.judgements.to_dict("records")
    }


def verdicts_of(run: saeviz.Run) -> dict[str, int]:
    """How many names are confirmed, fail, are undecided, or could not be judged; empty without a judge."""
    counts = Counter(run.judgements["verdict"])
    return {verdict: counts[verdict] for verdict in VERDICTS} if counts else {}
