"""A model's answer: read, repaired where that is safe, refused otherwise."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from saeviz.toolkit.vlm.prompt import printable
from saeviz.values.label_words import label_words
from saeviz.values.naming import FeatureLabel

LONGEST = 600
"""Letters of one field; more is not a sentence or two."""
MAX_BRACES = 100
"""Places where the object is looked for, the last ones; each costs time where a model has lost itself in braces."""

_WORD = r"(?:[\w-]+:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|monologue)"
_THOUGHTS_END = re.compile(
    rf"</\s*{_WORD}\s*>|◁/think▷|\[/THINK(?:ING)?\]|<\|channel\|>\s*final\b.*?<\|message\|>|<channel\|>|"
    r"<\|(?:end_of_thought|/think|end_think|end_thinking|begin_of_solution)\|>|<unused95>",
    re.IGNORECASE | re.DOTALL,
)
_THOUGHTS_BEGIN = re.compile(
    rf"<\s*{_WORD}(?:\s[^<>]*)?>|◁think▷|\[THINK(?:ING)?\]|<\|channel\|?>|<\|(?:begin_of_thought|think)\|>|<unused94>",
    re.IGNORECASE,
)


def read_label(text: str) -> FeatureLabel:
    """The label in an answer; raises `ValueError` that says what is wrong with it.

    Repaired are: thoughts, text or a code fence around the object, a list given as text with commas, a confidence in
    percent or as text; markup, line breaks, quotation marks and a full stop in the label.
    """
    fields = last_object(text, "label")
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


def last_object(text: str, field: str) -> dict[str, Any]:
    """The last JSON object with this field in what stands behind a model's thoughts; others were drafts.

    Raises `ValueError` where there is none, or a later one breaks off.
    """
    said = behind_thoughts(text)
    decoder = json.JSONDecoder(strict=False)
    last: dict[str, Any] | None = None
    end = 0
    for match in [*re.finditer(r"\{", said)][-MAX_BRACES:]:
        if match.start() < end:
            continue
        try:
            found, stop = decoder.raw_decode(said, match.start())
        except (ValueError, RecursionError):
            continue
        if field in found:
            last, end = dict(found), stop
    if last is None:
        where = " behind the model's thoughts" if said != text else ""
        raise ValueError(f"it is not a JSON object with {field}{where}" if said.strip() else f"it is empty{where}")
    if re.search(rf'\{{\s*"{field}"\s*:', said[end:]):
        raise ValueError(f"its last JSON object with {field} breaks off")
    return last


def behind_thoughts(text: str) -> str:
    """What stands behind the last sign that thoughts end, whether one says where they begin or not."""
    ends = [match.end() for match in _THOUGHTS_END.finditer(text)]
    said = text[ends[-1] :] if ends else text
    begin = _THOUGHTS_BEGIN.search(said)
    return said[: begin.start()] if begin else said


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("label is not text")
    return label_words(value)


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
            value = float(value.strip().rstrip("%").replace(",", ".")) / (100 if is_percent else 1)
        except ValueError:
            value = math.nan
    if not isinstance(value, bool) and isinstance(value, int | float):
        if 0 <= value <= 1:
            return float(value)
        if 10 <= value <= 100:
            return value / 100
    raise ValueError(f"{field} is not a number from 0 to 1")
