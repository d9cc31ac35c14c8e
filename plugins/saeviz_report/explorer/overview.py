"""What the viewer reads first: the run at a glance, and which columns there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

import saeviz
from saeviz_report import latex
from saeviz_report.cautions import cautions
from saeviz_report.explained import Explained, explained
from saeviz_report.method import Method
from saeviz_report.methods_text import model_of, name_of, paragraph
from saeviz_report.reading import reading
from saeviz_report.summary import RatingSummary, Summary, component_of, facts_of_main, recorded
from saeviz_report.text import duration, plain

FAILURES_SHOWN = 500
COMMIT_SHOWN = 12
"""Characters."""
_ROLES = (
    ("images", "Images"),
    ("extractor", "Model"),
    ("embeddings", "Independent embedding"),
    ("second_embeddings", "Second embedding"),
    ("store", "Store"),
    ("selector", "Selector"),
    ("labeler", "Labeler"),
    ("judge", "Judge of names"),
)
_MADE_BY = {"extractor": "extract", "embeddings": "embed", "second_embeddings": "embed-second"}
"""The stage that notes which files a component used."""


def overview_of(
    run: saeviz.Run, summary: Summary, method: Method, failures: Sequence[saeviz.Failure]
) -> dict[str, Any]:
    """All of it but title and columns; text about the run is for people and in order."""
    told = explained(run)
    return {
        "n_images": summary.n_images,
        "n_groups": len({item.group for item in run.items if item.group}),
        "n_labelled": summary.n_labelled,
        "spaces": [
            {"name": space.name, "n": space.n_features, "live": space.n_live, "selected": space.n_selected}
            for space in summary.spaces
        ],
        "ratings": [_rating(rating) for rating in summary.ratings],
        "tier_cutoffs": [list(cutoff) for cutoff in run.tier_cutoffs],
        "tiers": {str(tier): n for tier, n in summary.tiers.items()},
        "verdicts": dict(summary.verdicts),
        "notes": cautions(run, summary, method.correlations, told),
        "monosemanticity": list(summary.monosemanticity),
        "measures": dict(method.measures),
        "measure": method.measure,
        "meaning": method.meaning,
        "adjustment": method.adjustment,
        "alpha": facts_of_main(run).get("alpha"),
        "margin": method.margin,
        "caveat": _caveat(method),
        "explained": _explained(told),
        "facts": [
            [name.replace("_", " "), plain(value)] for name, value in summary.facts.items() if name not in told.facts
        ],
        "models": _models(run, summary),
        "reading": reading(run, method),
        "methods": _methods(run, method),
        "stages": [
            [stage.name, duration(stage.seconds), plain(stage.counts), stage.finished]
            for stage in summary.stages
            if stage.finished or stage.seconds is not None
        ],
        "failures": [[one.stage, one.subject, one.error] for one in failures[:FAILURES_SHOWN]],
        "n_failures": len(failures),
        "config": summary.config,
        "versions": dict(summary.versions),
    }


def _rating(rating: RatingSummary) -> dict[str, Any]:
    figures = asdict(rating)
    return {"name": figures.pop("name"), "n": figures.pop("n_images"), **figures}


def _caveat(method: Method) -> dict[str, Any] | None:
    """What is said of the intervals of features that fire on fewer than `below` images."""
    text = method.caveat(0)
    return {"text": text, "below": next(n for n in count() if not method.caveat(n))} if text else None


def _explained(told: Explained) -> dict[str, Any]:
    return {
        "reliability": list(told.reliabilities.items()),
        "prediction": [asdict(rows) for rows in told.predictions],
        "kept": [
            [
                one.rating,
                one.space,
                one.n_kept,
                [[str(feature), weight, name] for feature, weight, name in one.strongest],
            ]
            for one in told.kept
        ],
    }


def _models(run: saeviz.Run, summary: Summary) -> list[list[str]]:
    """What filled each role, and with which files: a component that says so names them with their commits."""
    found = []
    for role, word in _ROLES:
        name = component_of(summary.config, role)
        if role == "judge" and name == "labeler":
            name = "the labeler itself"
        if role == "second_embeddings" and not name:
            continue
        known = recorded(run, "stages", _MADE_BY.get(role, ""), "provenance")
        if name and (model := model_of(summary.config, role)):
            known = {"model": model, **known}
        found.append([word, name or "none", _made_of(known)])
    settings = recorded(run, "config", "run")
    for name in ("device", "precision", "seed"):
        if settings.get(name) is not None:
            found.append([name.capitalize(), str(settings[name]), ""])
    return found


def _made_of(provenance: Mapping[str, Any]) -> str:
    """Models and files with their commits, as far as they are known; of files on this machine only their names."""
    names = sorted((name for name in provenance if name != "doubts"), key="engine".__eq__)  # doubts are cautions
    known = {name: provenance[name] for name in names if provenance[name] is not None}
    commits = {name: str(known.pop(name))[:COMMIT_SHOWN] for name in list(known) if name.endswith("commit")}
    parts = []
    for name, value in known.items():
        text = f"({_made_of(value)})" if isinstance(value, Mapping) else name_of(plain(value))
        commit = commits.get(f"{name}_commit") or (commits.get("commit") if name == "source" else None)
        parts.append(f"{'' if name in ('source', 'model') else f'{name} '}{text}{f' at {commit}' if commit else ''}")
    return ", ".join(parts)


def _methods(run: saeviz.Run, method: Method) -> dict[str, Any]:
    return {
        "text": paragraph(run, method),
        "bibtex": latex.bibtex(method.citations),
        "citations": [[one.what, one.authors, one.title, one.where] for one in method.citations],
    }
