"""What naming and judging would take, in words; nothing is sent for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from saeviz.contract.roles import MeteredJudge, MeteredLabeler
from saeviz.formats.labels import LabelLine, ShownIds, read_labels
from saeviz.pipeline.naming.calls import judge_of
from saeviz.pipeline.naming.docket import Docket, subject_of
from saeviz.pipeline.naming.trials import trials
from saeviz.pipeline.naming.wanted import Wanted, is_settled, shown_by, shown_for
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.naming import Usage

_LATER = "what it costs is known once features are selected: --until select"


def naming_takes(session: Session, redo: Collection[str]) -> str:
    """How many features wait for a name, and what that takes; where the stage `label` is run again, all of them."""
    config = session.config.labeler
    if config is None:
        return "would run without a labeler"
    if not _is_selected(session):
        return f"would run {config.use}; {_LATER}"
    wanted = Wanted.of(session, config)
    waiting = [*(wanted.requests if "label" in redo else wanted.waiting).values()]
    labeler = session.components.component("labeler")
    with session.components.blaming(config):
        usage = labeler.estimate(waiting) if isinstance(labeler, MeteredLabeler) else None
    return _in_words(f"{len(waiting)} of {len(wanted.requests)} features to name with {config.use}", usage)


def judging_takes(session: Session, redo: Collection[str]) -> str:
    """How many labels wait for their judgement, of how many features, and what that takes.

    Features that are to be named first are counted; one that will have no name is counted, too.
    """
    config = session.config.judge
    if config is None:
        return "would run without a judge"
    if not _is_selected(session):
        return f"would run {config.use}; {_LATER}"
    lines, shown = _names(session, redo)
    subjects = [
        subject_of(feature, ids, lines.get(feature))
        for feature, ids in shown.items()
        if feature not in lines or lines[feature].label.label
    ]
    drawn = list(trials(session, subjects))
    settled: set[Feature] = set()
    if {"label", "judge"}.isdisjoint(redo):
        docket = Docket.over(session, config, lines, [trial for trial in drawn if trial.feature in lines])
        settled = {one.feature for one in docket.kept.values()}
    waiting = [len(trial.shown) for trial in drawn if trial.shown and trial.feature not in settled]
    judge = judge_of(session, config)
    with session.components.blaming(config):
        usage = judge.estimate_judging(waiting) if isinstance(judge, MeteredJudge) else None
    return _in_words(f"labels of {len(waiting)} of {len(shown)} features to judge with {config.use}", usage)


def _names(session: Session, redo: Collection[str]) -> tuple[Mapping[Feature, LabelLine], Mapping[Feature, ShownIds]]:
    """The names that stay, and of these and the ones that are made first what the labeler is shown."""
    labeler = session.config.labeler
    if labeler is None:
        return {}, {}
    if is_settled(session, redo):
        lines = read_labels(session.rundir.labels)
        return lines, shown_for(session, lines.values())
    wanted = Wanted.of(session, labeler)
    shown = {request.feature: shown_by(request) for request in wanted.requests.values()}
    return {line.feature: line for line in wanted.kept.values()}, shown


def _is_selected(session: Session) -> bool:
    """Whether there are selected features of the extractor that the run has now."""
    record = session.rundir.read_manifest()["stages"].get("extract", {})
    return record.get("digest") == session.digests["extract"] and session.rundir.selected.exists()


def _in_words(known: str, usage: Usage | None) -> str:
    if usage is None:
        return known
    return (
        f"{known}: about {usage.calls} calls with {usage.images} images, "
        f"{usage.input_tokens} tokens to send and {usage.output_tokens} to receive"
    )
