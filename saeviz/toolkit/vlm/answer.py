"""A model's answer: read, repaired where that is safe, refused otherwise."""

from __future__ import annotations

import json
import math
import re
from itertools import islice
from typing import Any

from saeviz.toolkit.vlm.prompt import printable
from saeviz.types import FeatureLabel

MAX_WORDS = 5
LONGEST = 600
"""Letters of one field; more is not a sentence or two."""
MAX_BRACES = 100
"""Places where the object is looked for; each costs time where a model has lost itself in braces."""


def read_label(text: str) -> FeatureLabel:
    """The label in an answer; raises `ValueError` that says what is wrong with it.

    Repaired are: text or a code fence around the object, a list given as text with commas, a confidence in percent or
    as text, quotation marks and a full stop around the label.
    """
    fields = first_object(text, "label")
    missing = [name for name in ("label", "description", "confidence") if fields.get(name) in (None, "")]
    if missing:
        raise ValueError(f"it lacks {' and '.join(missing)}")
    return FeatureLabel(
        label=_name(fields["label"]),
        description=_sentence(fields["description"], "description"),
        elements=_elements(fields.get("visual_elements") or []),
        why=_sentence(fields.get("why") or "", "why"),
        confidence=read_share(fields["confidence"], "confidence"),
    )


def first_object(text: str, field: str) -> dict[str, Any]:
    """The first JSON object in the text that has this field; a model may have thought aloud before."""
    decoder = json.JSONDecoder()
    for match in islice(re.finditer(r"\{", text), MAX_BRACES):
        try:
            found, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if field in found:
            return dict(found)
    raise ValueError(f"it is not a JSON object with {field}" if text.strip() else "it is empty")


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("label is not text")
    name = printable(value, LONGEST).strip(" .'*`")
    if not name:
        raise ValueError("label is empty")
    if len(name.split()) > MAX_WORDS:
        raise ValueError(f"label has {len(name.split())} words where 2 to {MAX_WORDS} belong")
    return name


def _sentence(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{field} is not text")
    return printable(value, LONGEST)


def _elements(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(element, str) for element in value):
        raise ValueError("visual_elements is not a list of texts")
    elements = (printable(element, LONGEST) for element in value)
    return tuple(element for element in elements if element)[:20]


def read_share(value: Any, field: str) -> float:
    """A number from 0 to 1, given so, as text, or in percent; raises `ValueError` for what is none."""
    if isinstance(value, str):
        is_percent = value.strip().endswith("%")
        try:
            value = float(value.strip().rstrip("%")) / (100 if is_percent else 1)
        except ValueError:
            value = math.nan
    if not isinstance(value, bool) and isinstance(value, int | float):
        if 0 <= value <= 1:
            return float(value)
        if 10 <= value <= 100:
            return value / 100
    raise ValueError(f"{field} is not a number from 0 to 1")
