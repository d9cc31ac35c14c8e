"""Estimate the cost of naming and judging, in words, without sending anything."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.roles import MeteredJudge, MeteredLabeler, can
from saeviz.formats.labels import LabelLine
from saeviz.pipeline.naming.calls import judge_of
from saeviz.pipeline.naming.docket import Docket
from saeviz.pipeline.naming.label_scores import ScoreSheet
from saeviz.pipeline.naming.trials import trials
from saeviz.pipeline.naming.wanted import Wanted, is_settled, lines_of, shown_by
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.naming import FeatureLabel, Usage

_LATER_NAMED = FeatureLabel("a name that is made first", details={"top_images": 0})
"""A placeholder that assumes that the labeler sees no image, which gives the largest number of labels to judge."""
_LATER = "what it costs is known once features are selected: --until select"


def naming_takes(session: Session, redo: Collection[str]) -> str:
    """How many features have to be named, and the cost; all of them if the stage `label` is redone."""
    config = session.config.labeler
    if config is None:
        return "would run without a labeler"
    if not _is_selected(session):
        return f"would run {config.use}; {_LATER}"
    wanted = Wanted.of(session, config)
    waiting = [*(wanted.requests if "label" in redo else wanted.waiting).values()]
    labeler = session.components.component("labeler")
    with session.components.blaming(config):
        usage = None
        if can(labeler, MeteredLabeler):
            usage = handover.usage(session.components.who(config), "estimate", labeler.estimate(waiting))
    return _in_words(f"{len(waiting)} of {len(wanted.requests)} features to name with {config.use}", usage)


def judging_takes(session: Session, redo: Collection[str]) -> str:
    """How many labels have to be judged, of how many features, and the cost.

    Features that are named first are counted as well, even if naming may then fail.
    """
    config = session.config.judge
    if config is None:
        return "would run without a judge"
    if not _is_selected(session):
        return f"would run {config.use}; {_LATER}"
    lines = _names(session, redo)
    drawn = list(trials(session, [line for line in lines if line.label.label]))
    settled: set[Feature] = set()
    if {"label", "judge"}.isdisjoint(redo):
        docket = Docket.over(session, config, [trial for trial in drawn if trial.line.label is not _LATER_NAMED])
        settled = {one.feature for one in docket.kept.values()}
    waiting = [len(trial.shown) for trial in drawn if trial.shown and trial.feature not in settled]
    usage = _of_judging(session, config, judge_of(session, config), waiting)
    return _in_words(f"labels of {len(waiting)} of {len(lines)} features to judge with {config.use}", usage)


def rating_takes(session: Session, config: ComponentConfig, redo: Collection[str]) -> str:
    """How many labels have to be scored on held-out images, of how many features, and the cost."""
    if not _is_selected(session):
        return f"would run {config.use}; {_LATER}"
    lines = _names(session, redo)
    sheet = ScoreSheet.of(session, config, lines)
    if "judge-ratings" in redo:
        sheet = replace(sheet, kept={})
    judge = judge_of(session, config)
    waiting = sheet.waiting(judge).values()
    usage = _of_judging(session, config, judge, [len(one.images) for one in waiting])
    n_labels = len({one.key for one in waiting})
    known = f"labels of {n_labels} of {len(lines)} features to score on {len(sheet.images)} held-out images with"
    return _in_words(f"{known} {config.use}", usage)


def _of_judging(session: Session, config: ComponentConfig, judge: object, n_images: Sequence[int]) -> Usage | None:
    """What it costs to judge a label on each of these numbers of images; None if the judge does not say."""
    with session.components.blaming(config):
        if not isinstance(judge, MeteredJudge):
            return None
        found = judge.estimate_judging(n_images)
        return handover.usage(session.components.who(config), "estimate_judging", found)


def _names(session: Session, redo: Collection[str]) -> list[LabelLine]:
    """The labels as they will be when they are judged, including those not yet made."""
    labeler = session.config.labeler
    if labeler is None:
        return []
    if is_settled(session, redo):
        return lines_of(session)
    wanted = Wanted.of(session, labeler)
    return [
        wanted.kept.get(key) or LabelLine(request.feature, key, _LATER_NAMED, shown_by(request))
        for key, request in wanted.requests.items()
    ]


def _is_selected(session: Session) -> bool:
    """Whether features of the run's current extractor have been selected."""
    record = session.rundir.read_manifest()["stages"].get("extract", {})
    return record.get("digest") == session.digests["extract"] and session.rundir.selected.exists()


def _in_words(known: str, usage: Usage | None) -> str:
    if usage is None:
        return known
    return (
        f"{known}: about {usage.calls} calls with {usage.images} images, "
        f"{usage.input_tokens} tokens to send and {usage.output_tokens} to receive"
    )
