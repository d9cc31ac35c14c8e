"""Ask the labeler of a finished run again about one feature."""

from __future__ import annotations

from typing import Any

from saeviz.formats.labels import LABELS, LabelLine
from saeviz.formats.plain import quoted
from saeviz.formats.selection import write_names
from saeviz.pipeline.naming.calls import named, usage_of
from saeviz.pipeline.naming.requests import label_requests
from saeviz.pipeline.naming.wanted import key_of_request, shown_by
from saeviz.pipeline.session import Session
from saeviz.values.errors import ConfigError, RunDirError
from saeviz.values.features import Feature


def name_again(session: Session, feature: Feature) -> LabelLine:
    """The new line of `labels.jsonl`, which also has the labels that the feature had before; durable when returned.

    The run directory is locked meanwhile. Its stages are taken as they are, and the next run keeps the new label as if
    it had asked for it. Raises `ConfigError` for a run without a labeler or a feature that was not selected,
    `RunDirError` while another run is working, and `LabelError` or `PausedError` as the labeler does.
    """
    config, rundir = session.config.labeler, session.rundir
    if config is None:
        raise ConfigError("the run file has no [labeler], so none can be asked")
    with rundir.locked():
        stages = rundir.read_manifest()["stages"]
        if "finished" not in stages.get("label", {}):
            raise RunDirError(f"{rundir.path}: naming is not finished; the same `saeviz run` goes on with it")
        for path in rundir.changed(stages["label"]):
            raise RunDirError(f"{path} was changed since the run wrote it; the same `saeviz run` recreates it")
        session.digests.update({name: record["digest"] for name, record in stages.items()})
        session.components.check_ready(config)
        request = next(iter(label_requests(session, {feature})), None)
        if request is None:
            raise ConfigError(f"{quoted(str(feature))} was not selected, and only selected features are named")
        labeler = session.components.component("labeler")
        label = named(labeler, request, session, config)
        before = LABELS.read(rundir.labels).get(feature)
        earlier = before.before(label) if before else ()
        line = LabelLine(feature, key_of_request(session, config, request), label, shown_by(request), earlier)
        _record(session, line, usage_of(labeler, session, config))
    return line


def _record(session: Session, line: LabelLine, usage: dict[str, Any]) -> None:
    """Write label and names; after a crash in between, the stage counts as unfinished and the next run completes it."""
    rundir = session.rundir
    manifest = rundir.read_manifest()
    record = manifest["stages"]["label"]
    unfinished = {name: value for name, value in record.items() if name not in ("finished", "sha256")}
    rundir.write_manifest({**manifest, "stages": {**manifest["stages"], "label": unfinished}})
    LABELS.append(rundir.labels, line)
    labels = LABELS.read(rundir.labels)
    write_names(rundir, {feature: one.label for feature, one in labels.items()})
    record |= usage
    record["counts"] = {**record.get("counts", {}), "labeled": sum(bool(one.label.label) for one in labels.values())}
    new = rundir.digests([rundir.labels, rundir.selected])
    for stage in manifest["stages"].values():
        known = stage.get("sha256", {})
        known.update({name: digest for name, digest in new.items() if name in known})
    rundir.write_manifest(manifest)
