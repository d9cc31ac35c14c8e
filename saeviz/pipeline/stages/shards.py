"""Stages whose images workers share: a run cuts them into shards, and takes in what workers have made of each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats.made import Made, MadeFiles
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.pipeline.images import Images
from saeviz.pipeline.parts import refuse_missing, tables_of
from saeviz.pipeline.session import Session
from saeviz.pipeline.stages.stage import Stage
from saeviz.pipeline.worker import WorkerSession
from saeviz.values.errors import PluginError, RunDirError
from saeviz.values.shards import Shard


class SharedStage(Stage):
    """A stage that workers can do, of some images each."""

    @abstractmethod
    def todo(self, session: Session, *, anew: bool) -> Images:
        """The images that are not done, or all of them if what was done before is of no use."""

    def tidy(self, session: Session) -> None:
        """Remove shards of the images as they are, and not those that parts have made with other settings."""
        made_files(session, self).own_taken_in()

    @abstractmethod
    def make(self, session: WorkerSession, items: Images) -> Generator[int, None, Made]:
        """What the stage makes of the items; yields from time to time how many more are done."""

    def forget_failures(self, session: Session) -> None:
        """A run that gathers tries nothing again, so what it left out before stays left out."""
        if not session.gathers:
            super().forget_failures(session)


class ClosableWork(Protocol):
    """Work for an executor, whose components are closed when it is done."""

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Do a shard; yields how many more images are done."""
        ...

    def close(self) -> None:
        """Close the components."""
        ...


@dataclass
class ShardWork:
    """The work of a stage, for an executor: makes a shard and leaves the result in the run directory."""

    stage: SharedStage
    tables: Mapping[str, Any]
    plugins: Sequence[str]
    rundir: RunDir
    digest: str
    redo: bool
    _session: WorkerSession | None = None

    @classmethod
    def of(cls, session: Session, stage: SharedStage) -> ShardWork:
        """The work of a stage of a run, without open files, models or secrets."""
        words = session.manager.choice.words
        return cls(stage, tables_of(session), words, session.rundir, session.digests[stage.name], session.redo)

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Make the shard; yields how many more images are done."""
        if self._session is None:
            self._session = self._opened()
        session = self._session
        made = yield from self.stage.make(session, session.take_up(shard))
        MadeFiles(self.rundir.shards / self.stage.name, self.digest).write(shard, made)

    def close(self) -> None:
        """Close the components."""
        if self._session is not None:
            self._session.close()

    def _opened(self) -> WorkerSession:
        manager = Manager.discover(PluginChoice.parse(self.plugins, Path()))
        config = resolve([Layer(self.tables, Path(), "the run")], manager)
        return WorkerSession(config, manager, self.rundir, stage=self.stage.name, redo=self.redo)


def shards_of(session: Session, stage: Stage, items: Images) -> list[Shard]:
    """The items in shards, by their places among all images of the run, so that few change when images are added."""
    import numpy as np

    numbers = np.flatnonzero(items.mask) // session.components.executor.shard_items
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1)).tolist()
    found = []
    for first, stop in pairwise(firsts):
        ids, fingerprints = items.ids[first:stop], items.fingerprints[first:stop]
        key = digest_of([session.digests[stage.name], list(ids), list(fingerprints)])
        found.append(Shard(int(numbers[first]), key, ids, fingerprints, session.dataset.parts_of(ids)))
    return found


def is_shared(session: Session, stage: Stage) -> bool:
    """Whether workers do the stage, or have done a part of it."""
    return session.gathers or not session.components.executor.in_process or bool(made_files(session, stage))


def made_by_workers(session: Session, stage: SharedStage, items: Images) -> Iterator[Made]:
    """What workers make of the items, in the order of the items; removed once it is dealt with."""
    files = made_files(session, stage)
    shards = shards_of(session, stage, items)
    missing = [shard for shard in shards if files.find(shard) is None]
    if session.gathers:
        known = session.left_out()
        wanted = [shard for shard in missing if not known.issuperset(shard.item_ids)]
        refuse_missing(session, stage.name, shards, wanted)
        session.rundir.failures.forget(stage.name, known.difference(items.ids))
        left_out = {shard.number for shard in missing}
        shards, missing = [shard for shard in shards if shard.number not in left_out], []
    waiting = {shard.number for shard in missing}
    with closing(worked(session, stage, missing)) as finished:
        for shard in shards:
            while shard.number in waiting:
                waiting.discard(next(finished).number)
            name = files.find(shard)
            if name is None:
                lost = f"{files.folder}/{files.name(shard)} is missing or damaged; the same command makes it again"
                if shard in missing:
                    raise PluginError(f"{session.components.executor.who} called {shard} finished, but {lost}")
                raise RunDirError(lost)
            if session.gathers and not known.isdisjoint(shard.item_ids):
                session.rundir.failures.forget(stage.name, shard.item_ids)
            yield files.read(name).only(shard.item_ids)
            files.taken_in(name)
    files.all_taken_in()


def worked(session: Session, stage: SharedStage, shards: Sequence[Shard]) -> Generator[Shard, None, None]:
    """Have the executor make shards of a stage; yields those that are finished, in any order."""
    return done_by_workers(session, ShardWork.of(session, stage), shards, stage.name)


def done_by_workers(
    session: Session, work: ClosableWork, shards: Sequence[Shard], label: str
) -> Generator[Shard, None, None]:
    """Have the executor do some work, and show how far it is; yields the shards that are finished, in any order."""
    if not shards:
        return
    steps = session.components.executor.map(work, shards)
    with closing(work), closing(steps), closing(session.tally(sum(map(len, shards)), label)) as tally:
        for step in steps:
            tally.add(step.worker, step.n_items)
            if step.finished:
                yield step.shard


def made_files(session: Session, stage: Stage) -> MadeFiles:
    """What workers have made for a stage and the run has not taken in yet."""
    return MadeFiles(session.rundir.shards / stage.name, session.digests[stage.name])


def reset_made(session: Session, stage: SharedStage) -> None:
    """Before what a stage has done is removed: a run that gathers must have all shards, others none that are wrong."""
    if not session.gathers:
        if session.redo:
            made_files(session, stage).clear()
        return
    shards = shards_of(session, stage, stage.todo(session, anew=True))
    files = made_files(session, stage)
    refuse_missing(session, stage.name, shards, [shard for shard in shards if files.find(shard) is None])
