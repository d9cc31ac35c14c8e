"""Parse a model's answer, repairing what can safely be repaired and rejecting the rest."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from saeviz.toolkit.vlm.prompt import printable
from saeviz.values.label_words import label_words
from saeviz.values.naming import FeatureLabel

LONGEST = 600
"""Maximum length of one field, in characters; longer text is cut."""
LONGEST_ANSWER = 1_000_000
"""Maximum length of an answer, reasoning included; longer ones are refused."""
MAX_BRACES = 100
"""How many opening braces, counted from the end, are tried as the start of the object; limits time on garbage."""

_WORD = r"(?:[\w-]+:)?(?:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|monologue)"
_THOUGHTS_END = re.compile(
    rf"</\s*{_WORD}\s*>|◁/think▷|\[/THINK(?:ING)?\]|<\|channel\|>\s*final\b.{{0,200}}?<\|message\|>|<channel\|>|"
    r"<\|(?:end_of_thought|/think|end_think|end_thinking|begin_of_solution)\|>|<unused95>",
    re.IGNORECASE | re.DOTALL,
)
_THOUGHTS_BEGIN = re.compile(
    rf"<\s*{_WORD}(?:\s[^<>]*)?>|◁think▷|\[THINK(?:ING)?\]|<\|channel\|?>|<\|(?:begin_of_thought|think)\|>|<unused94>",
    re.IGNORECASE,
)


def read_label(text: str) -> FeatureLabel:
    """Parse the label in an answer. Raises `ValueError` with the reason if it cannot be used.

    These deviations are repaired: reasoning, text or a code fence around the object; an object as Python writes it; a
    list given as comma-separated text; a confidence in percent or as text; markup, line breaks, quotation marks and a
    full stop in the label.
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
    """The last JSON object with this field after the model's reasoning; earlier ones are taken for drafts.

    Raises `ValueError` if there is none, or if a later one is cut off.
    """
    if len(text) > LONGEST_ANSWER:
        raise ValueError(f"it has {len(text)} letters")
    said = behind_thoughts(text)
    last: dict[str, Any] | None = None
    end = 0
    for match in [*re.finditer(r"\{", said)][-MAX_BRACES:]:
        if match.start() < end:
            continue
        found, stop = _object_at(said, match.start())
        if field in found:
            last, end = found, stop
    if last is None:
        where = " after the model's reasoning" if said != text else ""
        raise ValueError(f"it is not a JSON object with {field}{where}" if said.strip() else f"it is empty{where}")
    if re.search(rf"""\{{\s*["'\u201c]{field}["'\u201d]\s*:""", said[end:]):
        raise ValueError(f"its last JSON object with {field} is cut off")
    return last


def _object_at(text: str, start: int) -> tuple[dict[str, Any], int]:
    """The object that begins here, and where it ends: JSON, or as Python writes it; an empty one where it is neither.

    Python's own parser fails at random where threads use it, before 3.12.
    """
    for read in (_json_at, _python_at):
        try:
            return read(text, start)
        except (ValueError, RecursionError):
            continue
    return {}, start


def _json_at(text: str, start: int) -> tuple[dict[str, Any], int]:
    found, stop = json.JSONDecoder(strict=False).raw_decode(text, start)
    return dict(found), stop


_TOKEN = re.compile(
    r"""(?P<json>"(?:[^"\\]|\\.)*")|'(?P<single>(?:[^'\\]|\\.)*)'|\u201c(?P<curly>[^\u201c\u201d]*)\u201d|"""
    r"""(?P<word>\b(?:True|False|None)\b)|(?P<open>\{)|(?P<close>\})|(?P<comma>,)(?=\s*[}\]])""",
    re.DOTALL,
)
_WORDS = {"True": "true", "False": "false", "None": "null"}


def _python_at(text: str, start: int) -> tuple[dict[str, Any], int]:
    """As `_json_at`, for an object with other quotation marks, words of Python or a comma before its end."""
    depth, last, written = 0, start, []
    for token in _TOKEN.finditer(text, start):
        written.append(text[last : token.start()])
        last = token.end()
        kind, word = str(token.lastgroup), token[0]
        depth += {"open": 1, "close": -1}.get(kind, 0)
        if kind in ("single", "curly"):
            word = '"' + re.sub(r'\\\'|"', lambda mark: "'" if mark[0] == "\\'" else '\\"', token[kind]) + '"'
        written.append("" if kind == "comma" else _WORDS.get(word, word))
        if not depth:
            return _json_at("".join(written), 0)[0], last
    raise ValueError("it has no end")


def behind_thoughts(text: str) -> str:
    """The text after the last marker that ends the model's reasoning, with or without a marker that begins it."""
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
    """A number from 0 to 1, given as a number, as text, or in percent.

    Raises `ValueError`, naming the `field`, for anything else.
    """
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
