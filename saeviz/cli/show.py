"""`saeviz show`: all that a run knows of one feature."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import click

from saeviz.api import open_run
from saeviz.cli.common import AboutARun, latest_run, say, say_json
from saeviz.formats.selection import STABILITIES
from saeviz.results.run import Run
from saeviz.values.errors import ExitCode
from saeviz.values.features import Feature
from saeviz.values.relations import (
    difference_columns,
    facts_of,
    held_constant,
    interval_caveat,
    measure_of,
    relation_differences,
    relation_prefixes,
)

NAMES_SHOWN = 10
MOST_RATINGS = 30
VERDICTS = ("significant", "replicated", "negligible")


@click.command(cls=AboutARun)
@click.argument("feature")
@click.option("--run", "directory", type=click.Path(), help="Run directory (default: the most recent one here).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(feature: str, directory: str | None, as_json: bool) -> int:
    """Show one FEATURE, written like layer11.cls/4711: its label, scores, correlations and top images."""
    run = open_run(directory or latest_run(Path.cwd()))
    found = _collect(run, feature)
    if as_json:
        say_json(found)
    else:
        _print(found)
    return ExitCode.DONE


def _collect(run: Run, text: str) -> dict[str, Any]:
    top, correlations = run.top_item_ids(text), run.correlations_of(text)
    feature = Feature.parse(text)
    label, scores = run.labels.get(feature), run.scores_of(feature)
    choice = next((choice for choice in run.selected if choice.feature == feature), None)
    return {
        "run": str(run.dir),
        "feature": str(feature),
        "label": label.label if label else None,
        "description": label.description if label else None,
        "confidence": label.confidence if label else None,
        "note": asdict(run.notes[feature]) if feature in run.notes else None,
        "note_of_earlier_extractor": asdict(earlier) if (earlier := run.notes.earlier.get(feature)) else None,
        "judgement": run.judgement_of(feature),
        "label_ratings": run.label_ratings_of(feature),
        "tier": choice.tier if choice else None,
        "reason": choice.reason if choice else None,
        **{name: share for name in STABILITIES if (share := getattr(choice, name, None)) is not None},
        "fires_together_with": [str(other) for other in run.companions(feature)],
        "scores": scores,
        "correlations": correlations,
        "columns": {
            "scores": _described(run, "scores", scores),
            "correlations": _described(run, "correlations", next(iter(correlations), {})),
        },
        "caveat": _caveat(run, scores.get("n_active")),
        "held_constant": {
            f"{prefix}r": held_constant(prefix, run.facts)
            for prefix in relation_prefixes(next(iter(correlations), {}))
            if held_constant(prefix, run.facts)
        },
        "top_images": [{"item_id": item_id, "activation": activation} for item_id, activation in top],
    }


def _described(run: Run, table: str, names: Iterable[str]) -> dict[str, dict[str, str | None]]:
    """What is known of these columns."""
    known = run.columns[table]
    infos = [known[name] for name in names if name in known and known[name].words]
    return {
        one.name: {"description": one.description, "unit": one.unit, "better": one.better, "words": one.words}
        for one in infos
    }


def _caveat(run: Run, n_active: float | None) -> str:
    """What to know of the interval of the main correlation."""
    prefix = next(iter(relation_prefixes(run.correlations.columns)), "")
    return interval_caveat(n_active, facts_of(prefix, run.facts).get("errors"), measure_of(prefix, run.facts))


def _noted_earlier(note: dict[str, str]) -> dict[str, str]:
    """What was noted of another feature, which had this number."""
    parts = [note[name] for name in ("label", "mark", "description", "text") if note.get(name)]
    return {"noted of an earlier extractor, in which this was another feature": "; ".join(parts)} if parts else {}


def _print(found: dict[str, Any]) -> None:
    note = found["note"] or {}
    by_hand = note.get("label")
    say(f"{found['feature']}  {by_hand or found['label'] or '(no label)'}")
    if by_hand:
        say(f"  by hand; the labeler's label: {found['label'] or 'none'}")
    if found["judgement"]:
        whose = "the labeler's " if by_hand else ""
        say(f"  {whose}{_judged(found['judgement'])}")
    noted = {"description by hand": note.get("description"), "mark": note.get("mark"), "note": note.get("text")}
    noted |= _noted_earlier(found["note_of_earlier_extractor"] or {})
    told = {name: found[name] for name in ("description", "confidence", "tier", "reason")}
    for name, value in {**noted, **told}.items():
        if value not in (None, ""):
            for line in _wrapped(f"  {name}: ", _text(value).split(), " "):
                say(line)
    if found["fires_together_with"]:
        say(f"  fires together with: {_first_few(found['fires_together_with'])}")
    for line in chain(_stability(found), _scores(found["scores"], found["columns"]["scores"])):
        say(line)
    of_ratings = (*map(_relations, _strongest(found["correlations"])), *map(_label_rating, found["label_ratings"]))
    for line in chain.from_iterable(of_ratings):
        say(line)
    if (left := len(found["correlations"]) - MOST_RATINGS) > 0:
        say(f"  and with {left} more ratings, more weakly; --json has them all")
    held = (f"  {name}: {controls} held constant" for name, controls in found["held_constant"].items())
    for line in chain(_meanings(found["correlations"], found["columns"]["correlations"]), held):
        say(line)
    if found["caveat"]:
        say(f"  note: {found['caveat']}")
    say("  top images:" if found["top_images"] else "  top images: none; the feature fires on no image")
    for image in found["top_images"]:
        say(f"    {_text(image['activation']):>8}  {image['item_id']}")


def _stability(found: dict[str, Any]) -> Iterator[str]:
    if all(name in found for name in STABILITIES):
        again, in_tier = (f"{100 * found[name]:.0f} %" for name in STABILITIES)
        yield f"  selected again by {again} of random halves of the images, into this tier by {in_tier}"


def _scores(found: dict[str, Any], columns: dict[str, dict[str, str | None]]) -> Iterator[str]:
    """A score per line, and what it is, without the number of a cluster, which only other features give a meaning."""
    scores = {name: value for name, value in found.items() if name != "cluster" and value != ""}
    for name, value in scores.items():
        if value is not None:
            words = (columns.get(name, {}).get("words") or "").split()
            yield from _wrapped(f"  {name}: {_text(value)}{'  ' if words else ''}", words, " ")
    if missing := [name for name, value in scores.items() if value is None]:
        yield from _wrapped("  not scored: ", missing, ", ")


def _strongest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All in their order, or of many the strongest, by the main correlation."""
    if len(rows) <= MOST_RATINGS:
        return rows
    prefix = next(iter(relation_prefixes(rows[0])), "")
    return sorted(rows, key=lambda row: -abs(row.get(f"{prefix}r") or 0.0))[:MOST_RATINGS]


def _relations(row: dict[str, Any]) -> Iterator[str]:
    """The correlations with one rating; those of each scorer that has any start on a new line, and differences."""
    of_differences = difference_columns(row)
    names = [name for name in row if name != "rating" and name not in of_differences]
    prefixes = sorted(relation_prefixes(names), key=len, reverse=True)
    of = {name: next((prefix for prefix in prefixes if name.startswith(prefix)), "") for name in names}
    start = f"  {row['rating']}: "
    for prefix in dict.fromkeys(of.values()):
        own = [name for name in names if of[name] == prefix]
        if any(row[name] is not None for name in own):
            parts = [_entry(name, row[name], prefix) for name in own if row[name] is not None]
            yield from _wrapped(start, parts + _missing(row, prefix), ", ")
            start = "    "
    differences = relation_differences(row)
    for one in differences:
        if one.significant:
            yield f"{start}differs: {one.words}"
            start = "    "
    if differences and not any(one.significant for one in differences):
        yield f"{start}differs significantly with none of: {_first_few([one.contrast for one in differences])}"


def _meanings(rows: list[dict[str, Any]], columns: dict[str, dict[str, str | None]]) -> Iterator[str]:
    """What the figures with ratings are, each once."""
    there = [name for name in columns if any(row.get(name) is not None for row in rows)]
    of_differences = difference_columns(columns)
    shown = [name for name in there if name not in of_differences]
    if shown:
        yield "  of these figures:"
    for name in shown:
        first, *more = _wrapped(f"    {name}: ", (columns[name]["words"] or "").split(), " ")
        yield from (first, *(f"  {line}" for line in more))


def _label_rating(row: dict[str, Any]) -> Iterator[str]:
    """How the label goes with a rating of held-out images, and how the feature does."""
    q = "no q" if row["q"] is None else f"q {_text(row['q'])}"
    start = f"  label and {row['rating']} of {row['n']} held-out images: "
    yield from _wrapped(start, [_with_interval(row, ""), q, f"feature {_with_interval(row, '_feature')}"], ", ")


def _with_interval(row: dict[str, Any], part: str) -> str:
    r, low, high = (row[f"{name}{part}"] for name in ("r", "ci_low", "ci_high"))
    if r is None:
        return "no r"
    return f"r {_two(r)}" + ("" if low is None else f" ({_two(low)} to {_two(high)})")


def _missing(row: dict[str, Any], prefix: str) -> list[str]:
    """In words, what a feature has not that is silent, constant or rare."""
    if row.get(f"{prefix}r") is None:
        return [f"no {prefix}r"]
    return [] if row.get(f"{prefix}q", 0.0) is not None else [f"no {prefix}q, not tested"]


def _entry(name: str, value: Any, prefix: str) -> str:
    """A figure by its name; what is 1 or 0 in words."""
    if name.removeprefix(prefix) in VERDICTS and value in (0, 1):
        return name if value else f"not {name}"
    return f"{name} {_text(value)}"


def _wrapped(start: str, parts: Sequence[str], between: str) -> Iterator[str]:
    """The parts, wrapped to the width of the terminal without splitting a part."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 40)
    line = start + (parts[0] if parts else "")
    for part in parts[1:]:
        if len(line) + len(between) + len(part) > width:
            yield (line + between).rstrip()
            line = "    " + part
        else:
            line += between + part
    yield line


def _first_few(names: list[str]) -> str:
    left = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {left} more" if left > 0 else "")


def _judged(row: dict[str, Any]) -> str:
    if row["verdict"] == "not judged":
        return f"label not judged: {row['reason']}"
    return (
        f"label {row['verdict']}: balanced accuracy {_two(row['balanced_accuracy'])} "
        f"({_two(row['ci_low'])} to {_two(row['ci_high'])}) on {row['n_active']} active and "
        f"{row['n_silent']} silent images, {row['n_hard']} of these hard"
    )


def _two(value: Any) -> str:
    return f"{value:.2f}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    if value is None:
        return "not scored"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
