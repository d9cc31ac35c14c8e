"""The labels of a run to be judged, with the inputs of each judgement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.judgements import JUDGEMENTS, JudgedImage, Judgement
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.trials import Trial, trials
from saeviz.pipeline.naming.wanted import lines_of
from saeviz.pipeline.session import Session

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


@dataclass(frozen=True)
class Docket:
    """All labels to be judged, by a digest of the inputs of their judgement, and the existing judgements."""

    cases: Mapping[str, Trial]
    kept: Mapping[str, Judgement]

    @property
    def waiting(self) -> dict[str, Trial]:
        """The trials without a judgement."""
        return {key: case for key, case in self.cases.items() if key not in self.kept}

    @classmethod
    def of(cls, session: Session, config: ComponentConfig) -> Docket:
        """The docket of all labels in the run directory."""
        return cls.over(session, config, trials(session, [line for line in lines_of(session) if line.label.label]))

    @classmethod
    def over(cls, session: Session, config: ComponentConfig, drawn: Iterable[Trial]) -> Docket:
        """The docket of these trials. A trial with too few images is settled without the judge."""
        made_by = [session.components.identity(config), session.dataset.data_digest]
        cases = {_key(made_by, trial): trial for trial in drawn}
        known = JUDGEMENTS.read(session.rundir.judged)
        kept = {key: known[case.feature] for key, case in cases.items() if _is_known(known.get(case.feature), key)}
        kept |= {key: judgement_of(case, key, ()) for key, case in cases.items() if case.reason}
        return cls(cases, kept)


def judgement_of(case: Trial, key: str, scores: Sequence[float] | FloatArray) -> Judgement:
    """The judgement that follows from the judge's scores of the images of a trial."""
    import numpy as np

    judged = [
        JudgedImage(one.item.item_id, one.kind, round(one.activation, 4), None if np.isnan(score) else float(score))
        for one, score in zip(case.shown, scores, strict=True)
    ]
    images, seen = (tuple(one for one in judged if (one.kind == "seen") is is_seen) for is_seen in (False, True))
    return Judgement(case.feature, case.words.label, images, case.reason, key, seen)


def _key(made_by: Any, case: Trial) -> str:
    """A digest of all inputs of a judgement, so that an unchanged label is not judged twice."""
    images = [[one.item.item_id, one.kind, round(one.activation, 4)] for one in case.shown]
    return digest_of([made_by, str(case.feature), case.words.label, case.words.description, images, case.reason])


def _is_known(judgement: Judgement | None, key: str) -> bool:
    return judgement is not None and judgement.key == key
