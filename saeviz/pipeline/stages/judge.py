"""Labels to how far they can be trusted: does somebody who knows only the words find the feature's images?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from saeviz.config.schema import ComponentConfig
from saeviz.contract.roles import LabelJudge, MeteredJudge
from saeviz.formats.judgements import (
    JudgedImage,
    Judgement,
    append_judgement,
    mend_judgements,
    read_judgements,
    table_of,
    write_judgements,
)
from saeviz.formats.labels import LabelLine, read_labels
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.calls import answers, usage_of
from saeviz.pipeline.naming.estimates import LATER, in_words, is_selected
from saeviz.pipeline.naming.power import Power, power_of
from saeviz.pipeline.naming.trials import Trial, trials
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.label import Wanted
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.errors import ConfigError, LabelError, PausedError, PluginError
from saeviz.values.features import Feature
from saeviz.values.naming import FeatureLabel, LabelRequest, Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Judge(Stage):
    """Has every label judged on images that the labeler did not see; every judgement is kept at once."""

    name = "judge"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` for what is missing around the judge."""
        if session.config.judge:
            with _speaking_of(session.config.judge):
                session.components.check_ready(session.config.judge)

    def estimate(self, session: Session, redo: Collection[str]) -> str:
        """How many labels wait for their judgement, and what judging them takes."""
        config = session.config.judge
        if config is None:
            return "would run without a judge"
        if not is_selected(session):
            return f"would run {config.use}; {LATER}"
        n_waiting, n_features, usage = estimate(session, config, anew=not {"label", self.name}.isdisjoint(redo))
        return in_words(f"labels of {n_waiting} of {n_features} features to judge with {config.use}", usage)

    def identity(self, session: Session) -> Any:
        """The judge, how many images it sees, and the labels."""
        labels = [line.as_text() for line in read_labels(session.rundir.labels).values()]
        judge = session.components.identity(session.config.judge)
        return [judge, session.config.run.judge_images, session.digests["label"], digest_of(labels)]

    def is_complete(self, session: Session) -> bool:
        """The table is there."""
        return session.rundir.judgements.exists()

    def reset(self, session: Session) -> None:
        """Nothing, unless the user asked: each line knows what it was made from."""
        if session.redo:
            session.rundir.judged.unlink(missing_ok=True)

    def run(self, session: Session) -> Mapping[str, Any]:
        """Judge what is not judged yet. A label that cannot be judged is listed and left without."""
        rundir, config = session.rundir, session.config.judge
        if config is None:
            rundir.judged.unlink(missing_ok=True)
            rundir.write_table(rundir.judgements, table_of([]))
            return {"counts": {"judged": 0}, "outputs": [rundir.judgements]}
        if n_damaged := mend_judgements(rundir.judged):
            logger.warning("judge: %d lines of %s are damaged; their labels are judged again", n_damaged, rundir.judged)
        docket = Docket.of(session, config)
        kept = dict(docket.kept)
        write_judgements(rundir.judged, kept.values())
        logger.info("judge: %d of %d labels to judge with %s", len(docket.waiting), len(docket.cases), config.use)
        usage = {}
        if docket.waiting:
            judge = _judge_of(session, config)

            def ask(case: Case) -> NDArray[np.float64]:
                return _scores(judge, case, session, config)

            with closing(answers(ask, docket.waiting, judge, session, "judged")) as judged:
                for key, scores in judged:
                    kept[key] = _judgement(docket.cases[key], key, scores)
                    append_judgement(rundir.judged, kept[key])
            usage = usage_of(judge)
        judgements = [kept[key] for key in docket.cases if key in kept]
        write_judgements(rundir.judged, judgements)
        power = power_of(judgements)
        table = table_of(judgements, power.reason)
        rundir.write_table(rundir.judgements, table)
        verdicts = Counter(table["verdict"])
        _say(power, verdicts)
        counts = {"judged": len(judgements), "new": len(docket.waiting), **dict(sorted(verdicts.items()))}
        outputs = [rundir.judged, rundir.judgements]
        return {"counts": counts, "facts": power.as_facts(), "outputs": outputs, **usage}


def _say(power: Power, verdicts: Mapping[str, int]) -> None:
    if power.reason:
        logger.warning(
            "judge: no name is confirmed or fails: %s; judge by another one, see docs/labeling.md", power.reason
        )
    elif power.n:
        logger.info(
            "judge: %d of %d names are confirmed, %d fail; by guessing about %.1f would be confirmed",
            verdicts.get("confirmed", 0),
            power.n,
            verdicts.get("fails", 0),
            power.by_guessing,
        )


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
        """As the run directory is now. A case that has too few images is settled without the judge."""
        labeler = session.config.labeler
        wanted = Wanted.of(session, labeler) if labeler else Wanted({}, {})
        named = {key: line for key, line in wanted.kept.items() if line.label.label}
        made_by = [session.components.identity(config), session.dataset.data_digest]
        n_seen = [_n_seen(line.label, wanted.requests[key]) for key, line in named.items()]
        drawn = trials(session, [wanted.requests[key] for key in named], n_seen)
        cases = dict(_case(made_by, line, trial) for line, trial in zip(named.values(), drawn, strict=True))
        known = read_judgements(session.rundir.judged)
        kept = {key: known[case.feature] for key, case in cases.items() if _is_known(known.get(case.feature), key)}
        kept |= {key: _judgement(case, key, ()) for key, case in cases.items() if case.trial.reason}
        return cls(cases, kept)


def estimate(session: Session, config: ComponentConfig, *, anew: bool = False) -> tuple[int, int, Usage | None]:
    """How many labels wait for their judgement, of how many features, and what it takes: None where the judge is free.

    Features that are to be named first are counted; one that will have no name is counted, too. With `anew` all wait.
    """
    labeler = session.config.labeler
    wanted = Wanted.of(session, labeler) if labeler else Wanted({}, {})
    requests = [*wanted.requests.values()]
    n_seen = [_n_seen(wanted.kept[key].label, one) if key in wanted.kept else 0 for key, one in wanted.requests.items()]
    n_images = {trial.feature: len(trial.shown) for trial in trials(session, requests, n_seen)}
    settled = {line.feature for line in wanted.kept.values() if not line.label.label}
    if not anew:
        settled |= {one.feature for one in Docket.of(session, config).kept.values()}
    waiting = [n for feature, n in n_images.items() if n and feature not in settled]
    judge = _judge_of(session, config)
    with session.components.blaming(config):
        usage = judge.estimate_judging(waiting) if isinstance(judge, MeteredJudge) else None
    return len(waiting), len(requests), usage


def _n_seen(label: FeatureLabel, request: LabelRequest) -> int:
    """How many of the top images the labeler looked at: what it says, else all."""
    told = label.details.get("top_images")
    return told if isinstance(told, int) and told >= 0 else len(request.top)


def _case(made_by: Any, line: LabelLine, trial: Trial) -> tuple[str, Case]:
    words = FeatureLabel(line.label.label, line.label.description)
    images = [[one.item.item_id, one.kind, round(one.activation, 4)] for one in trial.shown]
    key = digest_of([made_by, str(line.feature), words.label, words.description, images, trial.reason])
    return key, Case(words, trial)


def _is_known(judgement: Judgement | None, key: str) -> bool:
    return judgement is not None and judgement.key == key


def _judge_of(session: Session, config: ComponentConfig) -> LabelJudge:
    with _speaking_of(config):
        judge = session.components.component("judge")
    if not isinstance(judge, LabelJudge):
        raise ConfigError(f"judge: the labeler {config.use} cannot judge labels; use another, or judge.use = 'none'")
    return judge


def _scores(judge: LabelJudge, case: Case, session: Session, config: ComponentConfig) -> NDArray[np.float64]:
    import numpy as np

    images = [one.item for one in case.trial.shown]
    with session.components.blaming(config), _speaking_of(config):
        scores = np.asarray(judge.judge(case.label, images), dtype=np.float64)
    if scores.shape != (len(images),) or ((scores < 0) | (scores > 1)).any():
        raise PluginError(
            f"{config.place}: {config.use} judged {len(images)} images of {case.feature} with an array of shape "
            f"{scores.shape}; a number from 0 to 1 for each belongs there"
        )
    return scores


@contextmanager
def _speaking_of(config: ComponentConfig) -> Iterator[None]:
    """Labelers speak of their table as [labeler]; a judge of its own is in [judge]."""
    try:
        yield
    except (ConfigError, LabelError, PausedError) as error:
        if config.place != "judge" or "labeler." not in str(error):
            raise
        raise type(error)(str(error).replace("labeler.", "judge.")) from None


def _judgement(case: Case, key: str, scores: Sequence[float] | NDArray[np.float64]) -> Judgement:
    import numpy as np

    judged = [
        JudgedImage(one.item.item_id, one.kind, round(one.activation, 4), None if np.isnan(score) else float(score))
        for one, score in zip(case.trial.shown, scores, strict=True)
    ]
    images, seen = (tuple(one for one in judged if (one.kind == "seen") is is_seen) for is_seen in (False, True))
    return Judgement(case.feature, case.label.label, images, case.trial.reason, key, seen)
