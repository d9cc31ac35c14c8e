"""The labels of a run that are to be judged, and what each judgement was made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.config.schema import ComponentConfig
from saeviz.formats.judgements import JudgedImage, Judgement, read_judgements
from saeviz.formats.labels import LabelLine, ShownIds, read_labels
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.trials import Subject, Trial, trials
from saeviz.pipeline.naming.wanted import shown_for
from saeviz.pipeline.session import Session
from saeviz.values.features import Feature
from saeviz.values.naming import FeatureLabel

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


class Case(NamedTuple):
    """A label's words, and the images on which they are put to the test."""

    label: FeatureLabel
    trial: Trial

    @property
    def feature(self) -> Feature:
        """Whose label it is; the judge is not told."""
        return self.trial.feature


@dataclass(frozen=True)
class Docket:
    """All labels to be judged by what their judgement is made from, and those that are judged."""

    cases: Mapping[str, Case]
    kept: Mapping[str, Judgement]

    @property
    def waiting(self) -> dict[str, Case]:
        """What is not judged yet."""
        return {key: case for key, case in self.cases.items() if key not in self.kept}

    @classmethod
    def of(cls, session: Session, config: ComponentConfig) -> Docket:
        """Of all names in the run directory."""
        lines = {feature: line for feature, line in read_labels(session.rundir.labels).items() if line.label.label}
        shown = shown_for(session, lines.values())
        subjects = [subject_of(feature, ids, lines[feature]) for feature, ids in shown.items()]
        return cls.over(session, config, lines, trials(session, subjects))

    @classmethod
    def over(
        cls, session: Session, config: ComponentConfig, lines: Mapping[Feature, LabelLine], drawn: Iterable[Trial]
    ) -> Docket:
        """Of names and the trials drawn for them. A case that has too few images is settled without the judge."""
        made_by = [session.components.identity(config), session.dataset.data_digest]
        cases = dict(_case(made_by, lines[trial.feature], trial) for trial in drawn)
        known = read_judgements(session.rundir.judged)
        kept = {key: known[case.feature] for key, case in cases.items() if _is_known(known.get(case.feature), key)}
        kept |= {key: judgement_of(case, key, ()) for key, case in cases.items() if case.trial.reason}
        return cls(cases, kept)


def subject_of(feature: Feature, shown: ShownIds, line: LabelLine | None) -> Subject:
    """A feature whose name is judged; the labeler looked at as many of its top images as it says, else at all."""
    told = line.label.details.get("top_images") if line else 0
    n_seen = told if isinstance(told, int) and told >= 0 else len(shown.top)
    return Subject(feature, shown.top, shown.contrast, n_seen)


def judgement_of(case: Case, key: str, scores: Sequence[float] | FloatArray) -> Judgement:
    """What the judge gave to the images of a case."""
    import numpy as np

    judged = [
        JudgedImage(one.item.item_id, one.kind, round(one.activation, 4), None if np.isnan(score) else float(score))
        for one, score in zip(case.trial.shown, scores, strict=True)
    ]
    images, seen = (tuple(one for one in judged if (one.kind == "seen") is is_seen) for is_seen in (False, True))
    return Judgement(case.feature, case.label.label, images, case.trial.reason, key, seen)


def _case(made_by: Any, line: LabelLine, trial: Trial) -> tuple[str, Case]:
    words = FeatureLabel(line.label.label, line.label.description)
    images = [[one.item.item_id, one.kind, round(one.activation, 4)] for one in trial.shown]
    key = digest_of([made_by, str(line.feature), words.label, words.description, images, trial.reason])
    return key, Case(words, trial)


def _is_known(judgement: Judgement | None, key: str) -> bool:
    return judgement is not None and judgement.key == key
