"""What workers have made of parts of the images, merged into states of all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from saeviz.contract.merging import checked_merge
from saeviz.pipeline.session import Session
from saeviz.pipeline.stages.partial_states import N_ACTIVE, Merges, NumberActive, form_of, form_without_images
from saeviz.pipeline.stages.score_work import Division, state_files
from saeviz.values.features import FeatureSpace
from saeviz.values.merging import MergeTree
from saeviz.values.score_input import ScoreInput
from saeviz.values.shards import Shard

if TYPE_CHECKING:
    from saeviz.formats.states import Nodes
    from saeviz.pipeline.stages.partial_states import Form


class MergedStates:
    """Merges the states of shards, space by space. A file with other arrays than states have counts as missing."""

    def __init__(
        self,
        session: Session,
        division: Division,
        wanted: Mapping[FeatureSpace, Mapping[str, Merges]],
        seen: Sequence[ScoreInput],
    ) -> None:
        self._session = session
        self._division = division
        self._files = state_files(session.rundir)
        self._places = {config.place: config for config in session.config.scorers}
        self._trees: dict[FeatureSpace, dict[str, MergeTree[Any]]] = {
            space: {name: MergeTree(checked_merge(one.merge)) for name, one in merging.items()}
            for space, merging in wanted.items()
        }
        self._wanted = wanted
        self._data = {data.space: data for data in seen}
        self._forms: dict[tuple[FeatureSpace, str], Form] = {}
        self._taken: dict[FeatureSpace, list[slice]] = {space: [] for space in wanted}

    def has_all(self, space: FeatureSpace, name: str) -> bool:
        """Whether there is a state of all images."""
        return self._read(space, name) is not None

    def take(self, shard: Shard) -> bool:
        """Add the states of a shard, if all are there."""
        space, rows = self._division.place_of(shard)
        trees = self._trees[space]
        found = {name: self._read(space, name, rows) for name in trees}
        if None in found.values():
            return False
        for name, nodes in found.items():
            for (level, number), state in (nodes or {}).items():
                with self._blaming(name):
                    trees[name].add(number, state, level)
        self._taken[space].append(rows)
        if sum(part.stop - part.start for part in self._taken[space]) == self._division.n_items:
            self._finish(space)
        return True

    def _read(self, space: FeatureSpace, name: str, rows: slice | None = None) -> Nodes | None:
        """The states of these images, or of all; those in a file of another form are removed with it."""
        key = self._division.key(space, name, rows)
        nodes = self._files.read(key)
        if nodes is None:
            return None
        has_form = (form_of(state) == self._form(space, name, node, rows) for node, state in nodes.items())
        if nodes.keys() == self._division.nodes(rows) and all(has_form):
            return nodes
        self._files.remove([key])
        return None

    def _form(self, space: FeatureSpace, name: str, node: tuple[int, int], rows: slice | None) -> Form:
        if name == N_ACTIVE:
            return NumberActive.form(self._division.n_images(node, rows))
        if (space, name) not in self._forms:
            with self._blaming(name):
                self._forms[space, name] = form_without_images(self._wanted[space][name], self._data[space])
        return self._forms[space, name]

    def _blaming(self, name: str) -> AbstractContextManager[None]:
        known = self._places.get(name)
        return self._session.components.blaming(known) if known else nullcontext()

    def _finish(self, space: FeatureSpace) -> None:
        """Write the states of all images, and remove those of shards."""
        trees = self._trees.pop(space)
        for name, tree in trees.items():
            with self._blaming(name):
                merged = tree.result()
            self._files.write(self._division.key(space, name), {(0, 0): merged})
        for name in trees:
            self._files.remove(self._division.key(space, name, rows) for rows in self._taken[space])
