"""The stage `judge-ratings`: whether labels alone predict the ratings of images that nothing else has seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from math import isnan
from typing import Any

from saeviz.config.schema import ComponentConfig
from saeviz.formats.contents import OF_LABEL_RATINGS
from saeviz.formats.label_scores import LABEL_SCORES, LabelScores
from saeviz.formats.labels import LABELS
from saeviz.formats.rundir import digest_of
from saeviz.pipeline.naming.calls import answers, judge_of, scores_of, usage_of
from saeviz.pipeline.naming.estimates import rating_takes
from saeviz.pipeline.naming.held_out import check_split
from saeviz.pipeline.naming.label_ratings import label_ratings
from saeviz.pipeline.naming.label_scores import ScoreSheet, Unscored
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.errors import ConfigError

ALPHA = 0.05


class JudgeRatings(Stage):
    """Has each label scored on the same held-out images, and correlates the scores with the ratings.

    The scores of a label are saved immediately. A larger sample has the images of a smaller one, which are kept.
    """

    name = "judge-ratings"

    def applies(self, session: Session) -> bool:
        """Whether any image is to be scored."""
        return session.config.run.rating_images > 0

    def check(self, session: Session) -> None:
        """Raise `ConfigError` if no image is held out, or something is missing, such as the judge's API key."""
        check_split(session)
        session.components.check_ready(_judge(session))

    def estimate(self, session: Session, redo: Collection[str]) -> str:
        """How many labels have to be scored, and the cost."""
        return rating_takes(session, _judge(session), redo)

    def identity(self, session: Session) -> Any:
        """The judge, the number of images, and the labels."""
        labels = [line.as_text() for line in LABELS.read(session.rundir.labels).values()]
        judge = session.components.identity(_judge(session))
        return [judge, session.config.run.rating_images, session.digests["label"], digest_of(labels)]

    def is_complete(self, session: Session) -> bool:
        """Whether the table exists."""
        return session.rundir.label_ratings.exists()

    def reset(self, session: Session) -> None:
        """Remove the scores only if the user asked for it: each line has a digest of its inputs."""
        if session.redo:
            session.rundir.label_scores.unlink(missing_ok=True)

    def run(self, session: Session) -> Mapping[str, Any]:
        """Score labels without scores. One that cannot be scored is recorded as a failure."""
        rundir, config = session.rundir, _judge(session)
        path = rundir.label_scores
        if n_damaged := LABEL_SCORES.mend(path):
            logger.warning("judge-ratings: %d lines of %s are damaged; their labels are scored again", n_damaged, path)
        sheet = ScoreSheet.of(session, config, LABELS.read(rundir.labels).values())
        judge = judge_of(session, config)
        kept, waiting = dict(sheet.kept), sheet.waiting(judge)
        n_labels = len({case.key for case in waiting.values()})
        LABEL_SCORES.write(path, kept.values())
        logger.info(
            "judge-ratings: %d of %d labels to score on %d held-out images with %s",
            *(n_labels, len(sheet.labels), len(sheet.images), config.use),
        )
        usage = {}
        if waiting:

            def ask(case: Unscored) -> dict[str, float | None]:
                scores = scores_of(judge, case, case.images, session, config).tolist()
                ids = (item.item_id for item in case.images)
                return {name: None if isnan(score) else score for name, score in zip(ids, scores, strict=True)}

            with closing(answers(ask, waiting, judge, session, config, "scored")) as scored:
                for call, scores in scored:
                    key, line = waiting[call].key, waiting[call].line
                    earlier = kept[key].scores if key in kept else {}
                    kept[key] = LabelScores(line.feature, line.label.label, key, {**earlier, **scores})
                    LABEL_SCORES.append(path, kept[key])
            usage = usage_of(judge, session, config)
        given = [kept[key] for key in sheet.labels if key in kept]
        LABEL_SCORES.write(path, given)
        complete = [one for one in given if all(item.item_id in one.scores for item in sheet.images)]
        table = label_ratings(session, complete, sheet.images)
        rundir.write_table(rundir.label_ratings, table, OF_LABEL_RATINGS)
        found = int((table["q"] <= ALPHA).sum())
        tested = int(table["q"].notna().sum())
        logger.info("judge-ratings: %d of %d pairs of label and rating correlate (q up to 0.05)", found, tested)
        if tested < len(table):
            logger.info(
                "judge-ratings: %d more pairs have no r: the judge scores all images alike, or the rating never varies",
                len(table) - tested,
            )
        counts = {"images": len(sheet.images), "scored": len(complete), "new": n_labels, "significant": found}
        return {"counts": counts, "outputs": [path, rundir.label_ratings], **usage}


def _judge(session: Session) -> ComponentConfig:
    judge = session.config.judge
    if judge is None:
        raise ConfigError("run.rating_images: this run has no judge to score labels; add [judge], or remove it")
    return judge
