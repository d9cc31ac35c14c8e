"""The stage `judge`: test whether a label alone is enough to recognise the feature's images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from saeviz.formats.contents import OF_JUDGEMENTS
from saeviz.formats.judgements import JUDGEMENTS, table_of
from saeviz.formats.labels import LABELS
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.calls import answers, judge_of, scores_of, usage_of
from saeviz.pipeline.naming.docket import Docket, judgement_of
from saeviz.pipeline.naming.estimates import judging_takes
from saeviz.pipeline.naming.power import Power, power_of
from saeviz.pipeline.naming.trials import Trial
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.stage import Stage

if TYPE_CHECKING:
    from saeviz.typing import FloatArray


class Judge(Stage):
    """Judges every label on images that the labeler did not see; every judgement is saved immediately."""

    name = "judge"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` if something is missing, such as the judge's API key."""
        if session.config.judge:
            session.components.check_ready(session.config.judge)

    def estimate(self, session: Session, redo: Collection[str]) -> str:
        """How many labels have to be judged, and the cost."""
        return judging_takes(session, redo)

    def identity(self, session: Session) -> Any:
        """The judge, the number of images it sees, and the labels."""
        labels = [line.as_text() for line in LABELS.read(session.rundir.labels).values()]
        judge = session.components.identity(session.config.judge)
        return [judge, session.config.run.judge_images, session.digests["label"], digest_of(labels)]

    def is_complete(self, session: Session) -> bool:
        """Whether the table exists."""
        return session.rundir.judgements.exists()

    def reset(self, session: Session) -> None:
        """Remove the judgements only if the user asked for it: each line has a digest of its inputs."""
        if session.redo:
            session.rundir.judged.unlink(missing_ok=True)

    def run(self, session: Session) -> Mapping[str, Any]:
        """Judge labels without a judgement. One that cannot be judged is recorded as a failure."""
        rundir, config = session.rundir, session.config.judge
        if config is None:
            rundir.judged.unlink(missing_ok=True)
            rundir.write_table(rundir.judgements, table_of([]), OF_JUDGEMENTS)
            return {"counts": {"judged": 0}, "outputs": [rundir.judgements]}
        if n_damaged := JUDGEMENTS.mend(rundir.judged):
            logger.warning("judge: %d lines of %s are damaged; their labels are judged again", n_damaged, rundir.judged)
        docket = Docket.of(session, config)
        kept = dict(docket.kept)
        JUDGEMENTS.write(rundir.judged, kept.values())
        logger.info("judge: %d of %d labels to judge with %s", len(docket.waiting), len(docket.cases), config.use)
        usage = {}
        if docket.waiting:
            judge = judge_of(session, config)

            def ask(case: Trial) -> FloatArray:
                return scores_of(judge, case, [one.item for one in case.shown], session, config)

            with closing(answers(ask, docket.waiting, judge, session, config, "judged")) as judged:
                for key, scores in judged:
                    kept[key] = judgement_of(docket.cases[key], key, scores)
                    JUDGEMENTS.append(rundir.judged, kept[key])
            usage = usage_of(judge, session, config)
        judgements = [kept[key] for key in docket.cases if key in kept]
        JUDGEMENTS.write(rundir.judged, judgements)
        power = power_of(judgements)
        table = table_of(judgements, power.reason)
        rundir.write_table(rundir.judgements, table, OF_JUDGEMENTS)
        verdicts = Counter(table["verdict"])
        _say(power, verdicts)
        if without := [one for one in judgements if one.reason]:
            one = without[0]
            logger.info("judge: %d names cannot be judged, such as %s: %s", len(without), one.feature, one.reason)
        counts = {"judged": len(judgements), "new": len(docket.waiting), **dict(sorted(verdicts.items()))}
        outputs = [rundir.judged, rundir.judgements]
        return {"counts": counts, "facts": power.as_facts(), "outputs": outputs, **usage}


def _say(power: Power, verdicts: Mapping[str, int]) -> None:
    if power.reason:
        logger.warning(
            "judge: no name is confirmed or fails: %s; judge by another one, see docs/explanation/judging.md",
            power.reason,
        )
    elif power.n:
        logger.info(
            "judge: %d of %d names are confirmed, %d fail; by guessing about %.1f would be confirmed",
            verdicts.get("confirmed", 0),
            power.n,
            verdicts.get("fails", 0),
            power.by_guessing,
        )
