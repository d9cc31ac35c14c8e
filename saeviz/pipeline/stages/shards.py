"""Stages whose images workers share: a run cuts them into shards, and takes in what workers have made of each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats.made import Made, MadeFiles
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.pipeline.progress import Tally
from saeviz.pipeline.session import Session
from saeviz.pipeline.stages.stage import Stage
from saeviz.pipeline.worker import WorkerSession
from saeviz.values.errors import PluginError
from saeviz.values.images import ImageItem
from saeviz.values.shards import Shard, Step

NEEDED = ("run", "images", "extractor", "extractors", "store", "embeddings", "second_embeddings")
"""The tables of a run file that a worker needs; others may have secrets that it does not have."""


class SharedStage(Stage):
    """A stage that workers can do, of some images each."""

    @abstractmethod
    def make(self, session: WorkerSession, items: Sequence[ImageItem]) -> Generator[int, None, Made]:
        """What the stage makes of the items; yields from time to time how many more are done."""


@dataclass
class ShardWork:
    """The work of a stage, for an executor: makes a shard and leaves the result in the run directory."""

    stage: SharedStage
    tables: Mapping[str, Any]
    plugins: Sequence[str]
    run_dir: Path
    redo: bool
    _session: WorkerSession | None = None

    @classmethod
    def of(cls, session: Session, stage: SharedStage) -> ShardWork:
        """The work of a stage of a run, without open files, models or secrets."""
        tables = {name: table for name, table in session.config.as_json().items() if name in NEEDED}
        return cls(stage, tables, session.manager.choice.words, session.rundir.path.absolute(), session.redo)

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Make the shard; yields how many more images are done."""
        if self._session is None:
            self._session = self._opened()
        session = self._session
        made = yield from self.stage.make(session, session.take_up(shard))
        made_files(session, self.stage).write(shard, made)

    def close(self) -> None:
        """Close the components."""
        if self._session is not None:
            self._session.close()

    def _opened(self) -> WorkerSession:
        manager = Manager.discover(PluginChoice.parse(self.plugins, Path()))
        config = resolve([Layer(self.tables, Path(), "the run")], manager)
        return WorkerSession(config, manager, RunDir(self.run_dir), stage=self.stage.name, redo=self.redo)


def shards_of(session: Session, stage: Stage, items: Sequence[ImageItem]) -> list[Shard]:
    """The items in shards, by their places among all images of the run, so that few change when images are added."""
    place_of = {item.item_id: place for place, item in enumerate(session.dataset.items)}
    size, now = session.components.executor.shard_items, session.dataset.fingerprints
    found = []
    for number, part in groupby(items, key=lambda item: place_of[item.item_id] // size):
        ids = tuple(item.item_id for item in part)
        fingerprints = tuple(now[item_id] for item_id in ids)
        found.append(Shard(number, digest_of([session.digests[stage.name], ids, fingerprints]), ids, fingerprints))
    return found


def is_shared(session: Session, stage: Stage) -> bool:
    """Whether workers do the stage, or have done a part of it."""
    return not session.components.executor.in_process or bool(made_files(session, stage))


def made_by_workers(session: Session, stage: SharedStage, items: Sequence[ImageItem]) -> Iterator[Made]:
    """What workers make of the items, in the order of the items; removed once it is dealt with."""
    files = made_files(session, stage)
    shards = shards_of(session, stage, items)
    todo = [shard for shard in shards if not files.has(shard)]
    done = {shard.number for shard in shards} - {shard.number for shard in todo}
    config = session.config.executor
    work = ShardWork.of(session, stage)
    with session.components.blaming(config):
        given = session.components.executor.map(work, todo)
    steps = session.components.guarded(config, given)
    with closing(work), closing(given), closing(session.tally(sum(map(len, todo)), stage.name)) as tally:
        for shard in shards:
            while shard.number not in done:
                done |= _finished(session, next(steps, None), tally)
            yield files.read(shard)
            files.remove(shard)
    files.clear()


def made_files(session: Session, stage: Stage) -> MadeFiles:
    """What workers have made for a stage and the run has not taken in yet."""
    return MadeFiles(session.rundir.shards / stage.name)


def forget_made(session: Session, stage: Stage) -> None:
    """Remove what was made for a stage and not taken in, if the user asked for all of it again."""
    if session.redo:
        made_files(session, stage).clear()


def _finished(session: Session, step: Step | None, tally: Tally) -> set[int]:
    if step is None:
        raise PluginError(f"{session.components.who(session.config.executor)} has left some of the shards undone")
    tally.add(step.worker, step.n_items)
    return {step.shard.number} if step.finished else set()
