"""Run the stages: skip those that are up to date, resume after interruptions, maintain the manifest."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from saeviz.discovery.mistakes import suggest
from saeviz.formats.files import explain_disk_errors
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages import STAGE_NAMES, STAGES, Stage
from saeviz.values import citations
from saeviz.values.errors import ConfigError, RunDirError

PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "torch", "open_clip_torch", "transformers", "timm")
"""Packages whose versions are recorded in the manifest because results may depend on them."""
RATINGS_NAMED = 12
"""In one line of the log; categories may give hundreds."""


@dataclass(frozen=True)
class Plan:
    """Which stages to run, by name: from `first` to `last`; those in `redo` even if nothing has changed.

    Earlier stages must be finished. Raises `ConfigError` for a name that is not a stage.
    """

    first: str = STAGE_NAMES[0]
    last: str = STAGE_NAMES[-1]
    redo: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in (self.first, self.last, *self.redo):
            if name not in STAGE_NAMES:
                hint = suggest(name, STAGE_NAMES) or f"; there are: {', '.join(STAGE_NAMES)}"
                raise ConfigError(f"there is no stage {name!r}{hint}")
        if STAGE_NAMES.index(self.first) > STAGE_NAMES.index(self.last):
            raise ConfigError(f"--from {self.first} comes after --until {self.last}")

    @property
    def names(self) -> tuple[str, ...]:
        """The stages from the first to the last."""
        return STAGE_NAMES[STAGE_NAMES.index(self.first) : STAGE_NAMES.index(self.last) + 1]


def run_stages(session: Session, plan: Plan) -> int:
    """Run the plan in a locked run directory, and return the number of failures."""
    if session.rundir.failures.mend():
        logger.warning("%s had damaged lines; what failed is tried again", session.rundir.failures.path)
    ratings = session.dataset.ratings
    more = f" and {len(ratings) - RATINGS_NAMED} more" if len(ratings) > RATINGS_NAMED else ""
    logger.info(
        "images: %d, ratings: %s%s", len(session.dataset.items), ", ".join(ratings[:RATINGS_NAMED]) or "none", more
    )
    taken, todo = _stages(session, plan)
    for stage in STAGES:
        if not stage.applies(session):
            session.rundir.failures.forget(stage.name)
    for stage in todo:
        stage.check(session)
    _describe(session)
    for stage in taken:
        record = session.rundir.read_manifest()["stages"].get(stage.name, {})
        for path in session.rundir.changed(record):
            raise RunDirError(
                f"--from {plan.first}: {path} was changed since the stage {stage.name} wrote it; "
                f"start with --from {stage.name}"
            )
        if "finished" not in record:
            raise ConfigError(
                f"--from {plan.first}: the stage {stage.name} is not finished; start with --from {stage.name}"
            )
        session.digests[stage.name] = record["digest"]
    for stage in todo:
        _run_stage(stage, session, redo=stage.name in plan.redo)
        session.rundir.commit()
    return sum(1 for _ in session.rundir.failures)


def _stages(session: Session, plan: Plan) -> Iterator[tuple[Stage, ...]]:
    """The stages of the run before the plan, used as they are, and those to run."""
    first, last = STAGE_NAMES.index(plan.first), STAGE_NAMES.index(plan.last)
    for part in (STAGES[:first], STAGES[first : last + 1]):
        yield tuple(stage for stage in part if stage.applies(session))


def foresee(session: Session, plan: Plan) -> list[tuple[Stage, bool]]:
    """Each stage of the plan, and whether it would run; nothing is executed.

    Stages after one that runs are assumed to run, too.
    """
    taken, todo = _stages(session, plan)
    records = session.rundir.read_manifest()["stages"]
    session.digests.update({stage.name: records.get(stage.name, {}).get("digest", "") for stage in taken})
    foreseen: list[tuple[Stage, bool]] = []
    for stage in todo:
        runs = any(runs for _, runs in foreseen)
        if not runs:
            session.digests[stage.name] = digest = stage.digest(session)
            up_to_date = _is_up_to_date(stage, session, records.get(stage.name), digest)
            runs = stage.name in plan.redo or not up_to_date
        foreseen.append((stage, runs))
    return foreseen


def _is_up_to_date(stage: Stage, session: Session, record: dict[str, Any] | None, digest: str) -> bool:
    if record is None or record["digest"] != digest or not _is_done(record):
        return False
    # A failure that the manifest does not count is from another run, or damaged.
    if session.rundir.failures.of(stage.name):
        return False
    return not session.rundir.changed(record) and stage.is_complete(session)


def _set_aside_what_changed(session: Session, name: str, records: Mapping[str, Any]) -> None:
    """Log which files of a finished stage have changed since, and remove them.

    JSON-lines files are kept: each line has a checksum, so the stage continues with the intact ones.
    """
    earlier = [records.get(one, {}).get("sha256", {}) for one in STAGE_NAMES[: STAGE_NAMES.index(name)]]
    for path in session.rundir.changed(records[name]):
        place = path.relative_to(session.rundir.path).as_posix()
        if any(place in known and session.rundir.digests([path]) == {place: known[place]} for known in earlier):
            continue  # an earlier stage has written it again, as it should
        what = "was changed or damaged since it was written" if path.exists() else "is missing"
        logger.warning("%s: %s %s and will be recreated", name, place, what)
        if path.is_file() and path.suffix != ".jsonl" and not any(place in known for known in earlier):
            with explain_disk_errors(path, "removed"):
                path.unlink()


def _run_stage(stage: Stage, session: Session, *, redo: bool) -> None:
    session.stage, session.redo = stage.name, redo
    session.digests[stage.name] = digest = stage.digest(session)
    records = session.rundir.read_manifest()["stages"]
    record = records.get(stage.name)
    has_changed = record is not None and record["digest"] != digest
    if record is not None:
        _set_aside_what_changed(session, stage.name, records)
    if not redo and _is_up_to_date(stage, session, record, digest):
        logger.info("%s: up to date", stage.name)
        stage.tidy(session)
        return
    if redo or has_changed:
        logger.info(
            "%s: runs again, %s", stage.name, "as requested" if redo else "since what it depends on has changed"
        )
        stage.reset(session)
    stage.forget_failures(session)
    if has_changed or record is None or redo:
        _record(session, stage.name, {"digest": digest})
    elif "sha256" in record:
        # Its files change from here on; after a crash before new digests are recorded, the stage runs again.
        _record(session, stage.name, {name: value for name, value in record.items() if name != "sha256"})
    started = time.monotonic()
    results = dict(stage.run(session))
    results["sha256"] = session.rundir.digests(results.pop("outputs", ()))
    results["failed"] = sum(failure.stage == stage.name for failure in session.rundir.failures)
    results["seconds"] = round(time.monotonic() - started, 2)
    _record(session, stage.name, {"digest": digest, "finished": _now(), **results})


def _is_done(record: dict[str, Any]) -> bool:
    return "finished" in record and not record.get("failed")


def _record(session: Session, name: str, record: dict[str, Any]) -> None:
    manifest = session.rundir.read_manifest()
    manifest["stages"][name] = record
    for earlier in STAGE_NAMES[: STAGE_NAMES.index(name)]:
        # A stage may add to a file of an earlier one, such as names to the selected features.
        known = manifest["stages"].get(earlier, {}).get("sha256", {})
        known.update({path: digest for path, digest in record.get("sha256", {}).items() if path in known})
    session.rundir.write_manifest(manifest)


def _describe(session: Session) -> None:
    """Record configuration, plugins and versions in the manifest, without secrets."""
    manifest = session.rundir.read_manifest()
    offers = {
        component.place: session.manager.offer(component.role, component.use)
        for component in session.config.components()
    }
    manifest = {
        "format": manifest["format"],
        "config": session.config.as_json(),
        "limit": session.limit,
        "use_plugins": list(session.manager.choice.words),
        "plugins": {
            place: {"plugin": offer.source.name, "from": offer.source.origin}
            | ({"cites": citations.written(offer.spec.cites)} if offer.spec.cites else {})
            for place, offer in offers.items()
        },
        "versions": {"python": platform.python_version(), **_versions()},
        "started": manifest.get("started", _now()),
        "stages": manifest["stages"],
    }
    session.rundir.write_manifest(manifest)


@cache
def _versions() -> dict[str, str]:
    """Looked up once in a process, as all metadata of a package is parsed for it."""
    found = {"saeviz": version("saeviz")}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
