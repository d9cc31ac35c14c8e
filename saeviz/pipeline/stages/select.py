"""The stage `select`: choose the features to name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from saeviz.config.columns import refuse_missing
from saeviz.contract import handover
from saeviz.contract.roles import HasTierCutoffs
from saeviz.formats.labels import LABELS
from saeviz.formats.selection import TIER_CUTOFFS, write_selected
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stability import n_halves_of, ratings_of, scorer_to_repeat, with_stability
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.scores import ScoreTable


class Select(Stage):
    """Runs the selector."""

    name = "select"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` if no scorer gives what the selector needs, or correlations if it is to select again."""
        config = session.config
        refuse_missing(config.selector, config.scorers, session.manager)
        if n_halves_of(session):
            scorer_to_repeat(session)

    def identity(self, session: Session) -> Any:
        """The selector and the scores it sees."""
        return [session.components.identity(session.config.selector), session.digests["score"]]

    def is_complete(self, session: Session) -> bool:
        """Whether the list exists."""
        return session.rundir.selected.exists()

    def run(self, session: Session) -> Mapping[str, Any]:
        """Choose features and write `selected.csv`, best first, with the labels that exist; `label` adds the rest."""
        rundir = session.rundir
        table = ScoreTable(
            rundir.read_table(rundir.scores, "score"),
            rundir.read_table(rundir.correlations, "score"),
            tuple(session.dataset.spaces),
            rundir.read_manifest()["stages"].get("score", {}).get("facts", {}),
        )
        config = session.config
        refuse_missing(config.selector, config.scorers, session.manager, [*table.scores, *table.correlations])
        with session.components.blaming(session.config.selector):
            selector = session.components.component("selector")
            who = session.components.who(session.config.selector)
            found = selector.select(table)
            given = selector.tier_cutoffs(table.facts) if isinstance(selector, HasTierCutoffs) else []
            cutoffs = handover.cutoffs(who, given)
            selected = handover.selection(who, found, session.dataset.spaces, ratings_of(session, table))
        selected = with_stability(session, table, selected)
        labels = {feature: line.label for feature, line in LABELS.read(rundir.labels).items()}
        write_selected(rundir, selected, table, labels)
        tiers = Counter(choice.tier for choice in selected)
        if selected:
            by_tier = ", ".join(f"tier {tier}: {tiers[tier]}" for tier in sorted(tiers))
            logger.info("select: %d features (%s)", len(selected), by_tier)
        else:
            use = session.config.selector.use
            logger.warning("select: no feature was selected; `saeviz plugins selector:%s` lists what it requires", use)
        counts: dict[str, Any] = {
            "selected": len(selected),
            "tiers": {str(tier): tiers[tier] for tier in sorted(tiers)},
        }
        if any(choice.selection_stability is not None for choice in selected):
            counts["halves"] = n_halves_of(session)
        facts = {TIER_CUTOFFS: [[tier, float(ms), float(r), either] for tier, ms, r, either in cutoffs]}
        return {"counts": counts, "facts": facts, "outputs": [rundir.selected]}
