"""`saeviz notes`: what people noted about the features of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from saeviz.api import open_run
from saeviz.cli.common import latest_run, say, say_json, tell
from saeviz.formats.objects import is_address
from saeviz.results.run import Run
from saeviz.values.errors import ExitCode


@click.command()
@click.argument("directory", metavar="[RUN]", required=False, type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def notes(directory: str | None, as_json: bool) -> int:
    """List the notes about features of RUN (default: the most recent one): labels by hand, marks and text."""
    place = directory or latest_run(Path.cwd(), how="saeviz notes RUN")
    run = open_run(place)
    found = _collect(run)
    if as_json:
        say_json(found)
        return ExitCode.DONE
    for line in (line for note in found for line in _lines(note)):
        say(line)
    if not found:
        how = (
            f"; note something on a card of `saeviz serve {place}`, or in Python with "
            "run.notes.write(feature, mark=..., label=..., text=...)"
        )
        tell(f"nothing is noted about the features of {place}{'' if is_address(place) else how}")
    return ExitCode.DONE


def _collect(run: Run) -> list[dict[str, Any]]:
    labels, earlier = run.labels if run.notes else {}, run.notes.earlier
    own = [
        {
            "feature": str(feature),
            "labelers_label": labels[feature].label if feature in labels else None,
            **asdict(run.notes[feature]),
        }
        for feature in sorted(run.notes)
    ]
    others = [
        {"feature": str(feature), "labelers_label": None, **asdict(earlier[feature])} for feature in sorted(earlier)
    ]
    return [{**note, "of_earlier_extractor": part is others} for part in (own, others) for note in part]


def _lines(note: dict[str, Any]) -> Iterator[str]:
    mark = f"  [{note['mark']}]" if note["mark"] else ""
    yield f"{note['feature']}  {note['label'] or note['labelers_label'] or '(no label)'}{mark}"
    if note["of_earlier_extractor"]:
        yield "  of an earlier extractor, in which this number was of another feature"
    elif note["label"]:
        yield f"  by hand; the labeler's label: {note['labelers_label'] or 'none'}"
    if note["description"]:
        yield f"  description by hand: {note['description']}"
    for number, line in enumerate(note["text"].splitlines()):
        yield f"    {line}" if number else f"  note: {line}"
