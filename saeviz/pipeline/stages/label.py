"""The stage `label`: name the selected features."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from saeviz.formats.labels import LABELS, LabelLine
from saeviz.formats.selection import write_names
from saeviz.pipeline.naming.calls import answers, named, usage_of
from saeviz.pipeline.naming.estimates import naming_takes
from saeviz.pipeline.naming.wanted import Wanted, shown_by
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.stage import Stage
from saeviz.values.naming import FeatureLabel, LabelRequest

_OUTDATED = ""
"""The key of a line whose label is to be made again."""


class Label(Stage):
    """Runs the labeler on the selected features; every label is saved immediately."""

    name = "label"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` if something is missing, such as the labeler's API key or a column that it reads."""
        if session.config.labeler:
            labeler = session.config.labeler
            session.components.check_ready(labeler)
            metadata = list(session.dataset.items.listing.metadata)
            with session.components.blaming(labeler):
                labeler.options.check_data(labeler.place, session.dataset.ratings, metadata)

    def estimate(self, session: Session, redo: Collection[str]) -> str:
        """How many features have to be named, and the cost."""
        return naming_takes(session, redo)

    def identity(self, session: Session) -> Any:
        """The labeler, the selection, and whether it may be shown all images."""
        held_out = ["held out"] if session.config.run.rating_images else []
        return [session.components.identity(session.config.labeler), session.digests["select"], *held_out]

    def is_complete(self, session: Session) -> bool:
        """Whether the file exists, or none is needed."""
        return session.config.labeler is None or session.rundir.labels.exists()

    def reset(self, session: Session) -> None:
        """Outdate the labels only if the user asked for it: others are recognised by the digest of their inputs.

        They become `earlier` ones of those to come. The usage count is kept.
        """
        path = session.rundir.labels
        if session.redo and path.exists():
            LABELS.mend(path)
            LABELS.write(path, [line._replace(key=_OUTDATED) for line in LABELS.read(path).values()])

    def run(self, session: Session) -> Mapping[str, Any]:
        """Name features without a label. One that cannot be named is recorded as a failure."""
        path, config = session.rundir.labels, session.config.labeler
        if config is None:
            path.unlink(missing_ok=True)
            write_names(session.rundir, {})
            return {"counts": {"labeled": 0}, "outputs": [session.rundir.selected]}
        if n_damaged := LABELS.mend(path):
            logger.warning("label: %d lines of %s are damaged; their features are named again", n_damaged, path)
        wanted, before = Wanted.of(session, config), LABELS.read(path)
        kept = dict(wanted.kept)
        LABELS.write(path, kept.values())
        logger.info("label: %d of %d features to name with %s", len(wanted.waiting), len(wanted.requests), config.use)
        usage = {}
        if wanted.waiting:
            labeler = session.components.component("labeler")

            def name(request: LabelRequest) -> FeatureLabel:
                return named(labeler, request, session, config)

            with closing(answers(name, wanted.waiting, labeler, session, config, "named")) as names:
                for key, label in names:
                    request = wanted.requests[key]
                    replaced = before.get(request.feature)
                    earlier = replaced.before(label) if replaced else ()
                    kept[key] = LabelLine(request.feature, key, label, shown_by(request), earlier)
                    LABELS.append(path, kept[key])
            usage = usage_of(labeler, session, config)
        LABELS.write(path, [kept[key] for key in wanted.requests if key in kept])
        write_names(session.rundir, {line.feature: line.label for line in kept.values()})
        n_labeled = sum(bool(line.label.label) for line in kept.values())
        if wanted.waiting:
            logger.info("label: %d of %d features have a name", n_labeled, len(wanted.requests))
        outputs = [path, session.rundir.selected]  # it has the names, too
        return {"counts": {"labeled": n_labeled, "new": len(wanted.waiting)}, "outputs": outputs, **usage}
