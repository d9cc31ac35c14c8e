"""Make the shards of one part of a run, beside other parts that are made at the same time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing

from saeviz.formats.part_records import write_part
from saeviz.formats.plain import one_line
from saeviz.pipeline.images import Images
from saeviz.pipeline.parts import Part, record_of_part
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages import STAGES, Stage
from saeviz.pipeline.stages.score import Score
from saeviz.pipeline.stages.shards import SharedStage, made_files, shards_of, worked
from saeviz.values.errors import ConfigError, DataError
from saeviz.values.shards import Shard
from saeviz.values.texts import Marks

SCORES = next(stage for stage in STAGES if isinstance(stage, Score))


def check_stages(stages: Collection[str]) -> None:
    """Raise `ConfigError` unless a part has anything to do for these stages."""
    made = [stage.name for stage in STAGES if isinstance(stage, SharedStage | Score)]
    if not {*made} & {*stages}:
        raise ConfigError(f"--part: a part makes its share of {', '.join(made)}, and none of them is to be run")


def run_part(session: Session, part: Part, stages: Collection[str], redo: Collection[str]) -> int:
    """Make what is missing of a part's shards of these stages; returns the number of images that were left out.

    Nothing but the folder `shards` of the run directory is written to. With the names of stages in `redo`, their
    shards are all made again; states of scores that are there are those of the same images, and remain.
    """
    shared = [stage for stage in STAGES if isinstance(stage, SharedStage) and stage.applies(session)]
    for stage in shared:
        session.digests[stage.name] = stage.digest(session)
    for stage in shared:
        stage.check(session)
    write_part(session.rundir.shards, record_of_part(session, part))
    n_left_out = 0
    for stage in shared:
        session.stage, session.redo = stage.name, stage.name in redo
        if stage.name not in stages:
            continue
        todo = stage.todo(session, anew=_is_outdated(session, stage))
        shards = [shard for shard in shards_of(session, stage, todo) if part.has(shard)]
        left_out = _made(session, stage, shards, part)
        n_left_out += len(left_out)
        if stage is STAGES[0]:
            # The next stages are about the images that will have features once the parts are gathered.
            session.dataset.extracted = _will_have_features(session, shards, left_out)
    if SCORES.name in stages:
        _score(session, part, stages, redo)
    return n_left_out


def _score(session: Session, part: Part, stages: Collection[str], redo: Collection[str]) -> None:
    """Make a part's share of the states of scores, once the features of all parts have been gathered."""
    session.stage, session.redo = SCORES.name, SCORES.name in redo
    if not _is_gathered(session, redo):
        how = "when all parts have run, take them in with --gather --until embed, then start the parts again"
        if STAGES[0].name not in stages:
            raise DataError(f"score: the features of this run are not gathered yet; {how}")
        logger.info("score: features are not gathered yet: %s for their shares, or leave scores to --gather", how)
        return
    session.digests[SCORES.name] = SCORES.digest(session)
    if not session.redo and _is_finished(session, SCORES):
        logger.info("score: up to date")
        return
    SCORES.check(session)
    SCORES.make_part(session, part)


def _is_gathered(session: Session, redo: Collection[str]) -> bool:
    """Whether the features of all images that are known to have some are in the store."""
    if STAGES[0].name in redo or not _is_finished(session, STAGES[0]):
        return False
    expected = session.dataset.extracted.mask
    session.dataset.look_again()
    return not (expected & ~session.dataset.extracted.mask).any()


def _is_finished(session: Session, stage: Stage) -> bool:
    """Whether a gathering run has done the stage as it is now, and is not at it again."""
    record = session.rundir.read_manifest()["stages"].get(stage.name, {})
    return record.get("digest") == session.digests[stage.name] and "sha256" in record


def _made(session: Session, stage: SharedStage, shards: Sequence[Shard], part: Part) -> set[str]:
    """Make those of the shards that are missing; returns which images of all of them were left out."""
    files = made_files(session, stage)
    missing = [shard for shard in shards if session.redo or files.find(shard) is None]
    n_images = sum(map(len, missing))
    logger.info(
        "%s: %d images to do, in %d of the %d shards of part %s", stage.name, n_images, len(missing), len(shards), part
    )
    with closing(worked(session, stage, missing)) as finished:
        for _ in finished:
            pass
    left_out = set()
    for shard in shards:
        name = files.find(shard)
        for item_id, error in files.read(name).failures if name else ():
            logger.warning("%s: %s: left out: %s", stage.name, one_line(item_id), one_line(error))
            left_out.add(item_id)
    return left_out


def _will_have_features(session: Session, shards: Sequence[Shard], left_out: Collection[str]) -> Images:
    """Of the images that have features, or are in these shards, those that will have features."""
    items = session.dataset.items
    having = Marks(items.where)
    for shard in shards:
        having.update(shard.item_ids)
    if not _is_outdated(session, STAGES[0]):
        having.mask |= session.dataset.extracted.mask
    return items.only(having.mask).without(left_out)


def _is_outdated(session: Session, stage: Stage) -> bool:
    """Whether a gathering run would use nothing that a stage has done before."""
    record = session.rundir.read_manifest()["stages"].get(stage.name, {})
    return session.redo or record.get("digest") != session.digests[stage.name]
