"""What a worker does for the stage `score`: the states of scores of some images of a space."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from saeviz.config.layers import Layer
from saeviz.config.resolve import resolve
from saeviz.config.schema import ComponentConfig
from saeviz.contract.executors import Executor, WorksHere
from saeviz.contract.merging import checked_merge, checked_state
from saeviz.contract.roles import can
from saeviz.discovery.manager import Manager
from saeviz.discovery.sources import PluginChoice
from saeviz.formats.files import temporary_folder
from saeviz.formats.folders import Folder, ObjectFolder
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.part_records import part_names
from saeviz.formats.paths import default_cache_dir
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.formats.states import StateFiles
from saeviz.pipeline.inputs import stored_features
from saeviz.pipeline.parts import tables_of
from saeviz.pipeline.session import Session
from saeviz.pipeline.stages.partial_states import (
    N_ACTIVE,
    SUMMARY,
    Merges,
    NumberActive,
    form_without_images,
    refuse_another_form,
)
from saeviz.pipeline.worker import WorkerSession
from saeviz.values.errors import PluginError, RunDirError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.merging import PART_SIZE, MergeTree
from saeviz.values.score_input import IndividualRatings, ScoreInput
from saeviz.values.shards import Shard
from saeviz.values.streams import FeatureStream
from saeviz.values.summary import FeatureSummary, Summarizing
from saeviz.values.texts import Groups, Texts

if TYPE_CHECKING:
    from saeviz.pipeline.checked_store import CheckedStore
    from saeviz.pipeline.stages.partial_states import Form, State

TOGETHER = 8
"""Parts of a shard, a power of two, so that a shard but for the last is one node of the tree."""
COPY = "by feature"
"""Name of the copy of the features in the order of features."""
_INDIVIDUAL = ("rows", "raters", "values")


@dataclass(frozen=True)
class SharedInput:
    """The input of scorers without the features, in files that workers map: of all that has names, these are here.

    `individual` has the names of the raters. Embeddings are there already, under the names of their tables.
    """

    arrays: MappedArrays
    ratings: Sequence[str]
    individual: Mapping[str, tuple[str, ...]]
    metadata: Sequence[str]
    has_groups: bool
    of_images: Sequence[str]

    @classmethod
    def of(cls, data: ScoreInput, arrays: MappedArrays) -> SharedInput:
        """The same for any space; what is not in `arrays` yet is written."""
        arrays.add_texts("item_ids", Texts.of(data.item_ids))
        for name, values in data.ratings.items():
            arrays.add(f"ratings {name}", values)
        for name, given in data.individual.items():
            for column in _INDIVIDUAL:
                arrays.add(f"{column} {name}", getattr(given, column))
        for name, texts in data.metadata.items():
            arrays.add_texts(f"metadata {name}", Texts.of(texts))
        if data.groups is not None:
            arrays.add_texts("groups", Texts.of(name or "" for name in data.groups))
        for name, values in data.of_images.items():
            arrays.add(f"of_images {name}", values)
        raters = {name: given.names for name, given in data.individual.items()}
        return cls(arrays, list(data.ratings), raters, list(data.metadata), data.groups is not None, [*data.of_images])

    @property
    def item_ids(self) -> Texts:
        """Of all images, in their order."""
        return self.arrays.texts("item_ids")

    def of_space(self, space: FeatureSpace, store: CheckedStore) -> ScoreInput:
        """The input of a space, with the features that are in the store."""
        arrays, ids = self.arrays, self.item_ids
        return ScoreInput(
            space,
            ids,
            stored_features(store, space, ids),
            arrays.get("embeddings"),
            {name: arrays[f"ratings {name}"] for name in self.ratings},
            {
                name: IndividualRatings(**{column: arrays[f"{column} {name}"] for column in _INDIVIDUAL}, names=raters)
                for name, raters in self.individual.items()
            },
            {name: arrays.texts(f"metadata {name}") for name in self.metadata},
            arrays.get("second_embeddings"),
            Groups(arrays.texts("groups")) if self.has_groups else None,
            {name: arrays[f"of_images {name}"] for name in self.of_images},
        ).locked()


@dataclass(frozen=True)
class Division:
    """How images are divided among shards, and under which keys the states are: `names` are those of what is computed.

    `columns` are the columns of images that scorers see, which depend on the scorers that have run.
    """

    digest: str
    n_items: int
    names: Mapping[FeatureSpace, Sequence[str]]
    columns: Sequence[str]
    shard_items: int = field(default_factory=lambda: TOGETHER * PART_SIZE)

    def shards(self, space: FeatureSpace, item_ids: Sequence[str]) -> list[Shard]:
        """The shards of a space; numbers go on from space to space."""
        number = list(self.names).index(space) * self._n_shards
        found = []
        for place, rows in enumerate(self.rows()):
            key = digest_of([self.digest, str(space), place, *self.names[space]])
            found.append(Shard(number + place, key, item_ids[rows], ()))
        return found

    def rows(self) -> list[slice]:
        """The images of each shard of a space."""
        return [self._rows(place) for place in range(self._n_shards)]

    def place_of(self, shard: Shard) -> tuple[FeatureSpace, slice]:
        """The space of a shard, and which of the images."""
        space, place = divmod(shard.number, self._n_shards)
        return list(self.names)[space], self._rows(place)

    def key(self, space: FeatureSpace, name: str, rows: slice | None = None) -> str:
        """The key of the states of these images; of all, merged, for None."""
        columns = [] if name in {SUMMARY, N_ACTIVE, COPY} else sorted(self.columns)
        span = [rows.start, rows.stop] if rows else None
        return digest_of([self.digest, self.n_items, str(space), name, columns, span])

    def nodes(self, rows: slice | None = None) -> set[tuple[int, int]]:
        """The nodes of the merge tree that the file of these images has; of all images, it has one."""
        if rows is None:
            return {(0, 0)}
        tree = MergeTree[None](lambda _earlier, _later: None)
        for number in range(rows.start // PART_SIZE, -(-rows.stop // PART_SIZE)):
            tree.add(number, None)
        return {*tree.nodes}

    def n_images(self, node: tuple[int, int], rows: slice | None = None) -> int:
        """How many of these images a node is of."""
        if rows is None:
            return self.n_items
        level, number = node
        first, stop = (PART_SIZE * 2**level * place for place in (number, number + 1))
        return int(min(stop, rows.stop) - first)

    @property
    def _n_shards(self) -> int:
        return -(-self.n_items // self.shard_items)

    def _rows(self, place: int) -> slice:
        return slice(place * self.shard_items, min((place + 1) * self.shard_items, self.n_items))


def is_worth_it(n_items: int) -> bool:
    """Whether there is more than one shard."""
    return n_items > TOGETHER * PART_SIZE


def state_files(rundir: RunDir) -> StateFiles:
    """Where workers leave states."""
    return StateFiles(rundir.shards / "score")


def scratch_of(rundir: RunDir) -> Path:
    """Where files of the stage are that are of this machine, or of a folder that all machines see."""
    return rundir.path.absolute() / "shards" / "score"


def clear_states(rundir: RunDir, *, taken_in: bool = False) -> None:
    """Remove all states; first the records of parts, whose states a run that is killed here would ask for.

    In an object store those that are `taken_in` are there until the run has committed what was made of them.
    """
    files = state_files(rundir)
    if taken_in:
        files.folder.discard(part_names(files.folder))
        files.taken_in()
    else:
        files.folder.remove(part_names(files.folder))
        files.clear()
    Folder(scratch_of(rundir)).clear()


@contextmanager
def given_arrays(session: Session, parent: Path, writer: str = "") -> Iterator[MappedArrays]:
    """A folder for what workers are given of images, removed when the block ends; see `temporary_folder`."""
    with temporary_folder(parent, writer) as folder:
        shards, executor = session.rundir.shards, session.components.executor
        if works_here(executor) or not isinstance(shards, ObjectFolder):
            yield MappedArrays(folder)
            return
        sent = shards / "score" / folder.name
        try:
            yield MappedArrays(folder, sent)
        finally:
            sent.clear()


def works_here(executor: Executor) -> bool:
    """Whether all workers are known to be on this machine."""
    return executor.in_process or (can(executor, WorksHere) and executor.on_this_machine)


def summary_of(files: StateFiles, key: str, n_top: int) -> FeatureSummary:
    """Statistics and top images, which all workers need before they can begin with scores."""
    return Summarizing(n_top).finish(merged_state(files, key))


def merged_state(files: StateFiles, key: str) -> State:
    """The state of all images, or what was made of a block: all that is in a file."""
    nodes = files.read(key)
    if nodes is None or (0, 0) not in nodes:
        files.remove([key])
        raise RunDirError(f"{files.folder}: a state is missing or damaged; the same command makes it again")
    return nodes[0, 0]


@dataclass
class ScoreWork:
    """The work of the stage, for an executor: makes the states of a shard and leaves them in the run directory."""

    tables: Mapping[str, Any]
    plugins: Sequence[str]
    rundir: RunDir
    given: SharedInput
    division: Division
    _last: tuple[FeatureSpace, Mapping[str, Any]] | None = None
    _forms: dict[tuple[FeatureSpace, str], Form] = field(default_factory=dict)

    capability: ClassVar[str] = "in_parts"
    """What a scorer is asked for its scores of a space."""

    @classmethod
    def of(cls, session: Session, given: SharedInput, division: Division) -> Self:
        """The work of a run, without open files or secrets."""
        tables = {**tables_of(session), "scorers": [config.as_json() for config in session.config.scorers]}
        return cls(tables, session.manager.choice.words, session.rundir, given, division)

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Make the states of a shard; yields how many more images are done."""
        space, rows = self.division.place_of(shard)
        keys = {name: self.division.key(space, name, rows) for name in self.division.names[space]}
        merging = self._merging(space)
        lacking = [name for name, key in keys.items() if not self._has(space, name, key)]
        trees = {name: MergeTree(checked_merge(merging[name].merge)) for name in lacking}
        if not trees:  # another part of the run has made them in the meantime
            yield rows.stop - rows.start
            return
        for part in self._parts(space, rows):
            assert part.rows is not None  # noqa: S101 - it is a part
            for name, tree in trees.items():
                with self._blaming(name):
                    state = checked_state("partial", merging[name].partial(part))
                    self._refuse_another_form(name, merging[name], part, state)
                    tree.add(part.rows.start // PART_SIZE, state)
            yield part.rows.stop - part.rows.start
        for name, tree in trees.items():
            self._files.write(keys[name], tree.nodes)

    def _has(self, space: FeatureSpace, name: str, key: str) -> bool:
        """Whether states are there, or merged with those of all images."""
        return self._files.has(key) or self._files.has(self.division.key(space, name))

    def _refuse_another_form(self, name: str, merges: Merges, part: ScoreInput, state: State) -> None:
        if name == N_ACTIVE:
            return
        if (part.space, name) not in self._forms:
            self._forms[part.space, name] = form_without_images(merges, part)
        refuse_another_form(state, self._forms[part.space, name])

    def close(self) -> None:
        """Close the components."""
        if "_session" in vars(self):
            self._session.close()

    @cached_property
    def _session(self) -> WorkerSession:
        manager = Manager.discover(PluginChoice.parse(self.plugins, Path()))
        config = resolve([Layer(self.tables, Path(), "the run")], manager)
        rundir = self.rundir.at_hand(config.run.cache_dir or default_cache_dir())
        return WorkerSession(config, manager, rundir, stage="score")

    @cached_property
    def _files(self) -> StateFiles:
        return state_files(self.rundir)

    @cached_property
    def _scorers(self) -> dict[str, tuple[ComponentConfig, Any]]:
        """Those that are shared, by place; what they log of their input is logged by the run itself."""
        names = {name for names in self.division.names.values() for name in names}
        components, quiet = self._session.components, logging.Logger("saeviz", logging.CRITICAL + 1)
        found = [config for config in self._session.config.scorers if config.place in names]
        return {config.place: (config, components.build(config, logger=quiet)) for config in found}

    def _parts(self, space: FeatureSpace, rows: slice) -> Iterator[ScoreInput]:
        data = self._data(space)
        ids = data.item_ids[rows]
        for own, matrix in self._stream(space, rows).parts():
            batch = FeatureBatch(space, tuple(ids[own]), matrix)
            yield data.part(slice(rows.start + own.start, rows.start + own.stop), partial(iter, (batch,)))

    def _stream(self, space: FeatureSpace, rows: slice) -> FeatureStream:
        """The features of some images, as the store has them."""
        ids = self.given.item_ids[rows]
        return stored_features(self._session.components.store, space, ids).of(ids)

    def _data(self, space: FeatureSpace) -> ScoreInput:
        return self.given.of_space(space, self._session.components.store)

    def _merging(self, space: FeatureSpace) -> Mapping[str, Any]:
        """How each is computed; shards of a space mostly follow one another, and only one space is kept."""
        if self._last is None or self._last[0] != space:
            is_first = {SUMMARY, N_ACTIVE}.issuperset(self.division.names[space])
            self._last = space, self._summaries() if is_first else self._scores(space)
        return self._last[1]

    def _summaries(self) -> Mapping[str, Merges]:
        return {SUMMARY: Summarizing(self._session.config.run.top_images), N_ACTIVE: NumberActive()}

    def _scores(self, space: FeatureSpace) -> Mapping[str, Any]:
        data = self._data(space)
        summary = summary_of(self._files, self.division.key(space, SUMMARY), self._session.config.run.top_images)
        data = replace(data, features=data.features.knowing(summary))
        found = {}
        for name in self.division.names[space]:
            with self._blaming(name):
                scores = getattr(self._scorers[name][1], self.capability)(data)
            if scores is None:
                who, gives = self._who(name), f"{self.capability} gives None for {space}"
                raise PluginError(f"{who}: {gives} in a worker, not in the run")
            found[name] = scores
        return found

    def _who(self, name: str) -> str:
        return self._session.components.who(self._scorers[name][0]) if name in self._scorers else name

    def _blaming(self, name: str) -> AbstractContextManager[None]:
        if name not in self._scorers:
            return nullcontext()
        return self._session.components.blaming(self._scorers[name][0])
