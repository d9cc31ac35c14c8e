"""The stage `report`: write the reports."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from saeviz.config.columns import refuse_missing
from saeviz.contract import handover
from saeviz.formats.judgements import JUDGEMENTS
from saeviz.formats.label_scores import LABEL_SCORES
from saeviz.formats.labels import LABELS
from saeviz.formats.notes import NoteLine, NotesFile
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.stage import Stage
from saeviz.results.run import Run
from saeviz.values.errors import PluginError


class Report(Stage):
    """Runs the reporters."""

    name = "report"

    def check(self, session: Session) -> None:
        """Raise `ConfigError` if no scorer gives what a reporter needs."""
        for config in session.config.reporters:
            refuse_missing(config, session.config.scorers, session.manager)

    def identity(self, session: Session) -> Any:
        """The reporters and the results of all earlier stages."""
        names = LABELS.read(
            session.rundir.labels
        )  # more of them may be there than when the labeler was last interrupted
        return [
            [session.components.identity(config) for config in session.config.reporters],
            session.digests["judge"],
            [line.as_text() for line in names.values()],
            [one.as_text() for one in JUDGEMENTS.read(session.rundir.judged).values()],
            *self._label_scores(session),
            *_noted(session),
        ]

    def _label_scores(self, session: Session) -> list[Any]:
        if not session.config.run.rating_images:
            return []
        scores = LABEL_SCORES.read(session.rundir.label_scores).values()
        return [session.digests["judge-ratings"], [one.as_text() for one in scores]]

    def is_complete(self, session: Session) -> bool:
        """Whether all written files still exist."""
        record = session.rundir.read_manifest()["stages"].get(self.name, {})
        return all((session.rundir.path / path).exists() for path in record.get("files", []))

    def run(self, session: Session) -> Mapping[str, Any]:
        """Write every report."""
        files: list[Path] = []
        names = [name for table in Run(session.rundir, lambda: session).columns.values() for name in table]
        for config in session.config.reporters:
            refuse_missing(config, session.config.scorers, session.manager, names)
            reporter = session.components.build(config)
            with session.components.blaming(config):  # each with tables of its own, which it may change
                written = reporter.write(Run(session.rundir, lambda: session))
            path = handover.report(session.components.who(config), written)
            if path.absolute() in [other.absolute() for other in files]:
                raise PluginError(f"{session.components.who(config)} wrote over {path}, the report of another one")
            logger.info("report: %s", path)
            files.append(path)
        root = session.rundir.path
        names = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path.absolute()) for path in files]
        # What a page shows lies beside it.
        outputs = {path if path.parent == root else path.parent for path in files}
        return {"files": names, "outputs": sorted(outputs)}


def _noted(session: Session) -> list[Any]:
    """What people noted about features, which reports show, too."""
    found = NotesFile(session.rundir.notes, session.digests["extract"]).read_all()
    lines = [[NoteLine(feature, note).as_text() for feature, note in part.items()] for part in found]
    return [*lines[:1], *filter(None, lines[1:])] if any(lines) else []
