"""How the scorers of a run are set to work: all by this process, or from what workers make of images or features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from saeviz.config.schema import ComponentConfig
from saeviz.contract import handover
from saeviz.contract.blocks import BlockScorer, BlockScores
from saeviz.contract.merging import MergingScorer, MergingScores
from saeviz.contract.specs import ScorerSpec
from saeviz.formats.folders import ObjectFolder
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.part_records import read_parts
from saeviz.pipeline.parts import SCORE, Part, has_begun, refuse_missing
from saeviz.pipeline.session import Session
from saeviz.pipeline.stages.block_work import blocks_made, made_of_blocks
from saeviz.pipeline.stages.merged_states import MergedStates
from saeviz.pipeline.stages.partial_states import N_ACTIVE, SUMMARY, Merges, NumberActive
from saeviz.pipeline.stages.score_work import (
    Division,
    ScoreWork,
    SharedInput,
    clear_states,
    is_worth_it,
    merged_state,
    state_files,
    summary_of,
    works_here,
)
from saeviz.pipeline.stages.shards import done_by_workers
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureSpace
from saeviz.values.score_input import ScoreInput
from saeviz.values.scores import ScoreResult
from saeviz.values.summary import Summarizing

if TYPE_CHECKING:
    from saeviz.typing import IntArray

    Score = Callable[[ScoreInput], Iterable[ScoreResult]]


class Scoring:
    """All by this process."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def summarized(self, inputs: Sequence[ScoreInput]) -> tuple[list[ScoreInput], dict[FeatureSpace, IntArray]]:
        """The inputs, and how many features are active on each image."""
        return list(inputs), {data.space: _n_active(data) for data in inputs}

    def ready(self, config: ComponentConfig, seen: Sequence[ScoreInput]) -> tuple[Any, Score]:  # noqa: ARG002
        """A scorer, and what gives its scores of a space, one of those that it has `seen`."""
        scorer = self.session.components.build(config)
        return scorer, scorer.score

    def clear(self) -> None:
        """Remove what workers have left, also of a run that was interrupted."""
        clear_states(self.session.rundir, taken_in=True)


def scoring_of(session: Session, inputs: Sequence[ScoreInput], arrays: MappedArrays) -> Scoring:
    """From states if parts have made some or the executor has workers, and they can be shared.

    What workers are given of images is written to `arrays`.
    """
    wants_states = not session.components.executor.in_process or read_parts(state_files(session.rundir).folder)
    can_share = wants_states and can_be_shared(session, inputs)
    return SharedScoring(session, arrays) if can_share else Scoring(session)


def can_be_shared(session: Session, inputs: Sequence[ScoreInput]) -> bool:
    """Whether others can read the store, and there is more than one shard."""
    return session.components.store.durable and is_worth_it(inputs[0].n_items)


@dataclass(frozen=True)
class _Ready:
    """A scorer, the columns of images that it has seen, and what gives its scores of spaces that are shared."""

    scorer: Any
    columns: tuple[str, ...]
    finish: dict[FeatureSpace, Callable[[], Iterable[ScoreResult]]] = field(default_factory=dict)


class SharedScoring(Scoring):
    """Workers make the states of all that merges, in one pass over the features of a space; this process the rest.

    States of a shard are files, and those of a space are merged in the order of the tree into one file as soon as all
    are there. What is scored by blocks of features follows, from a copy in their order; a part of a run makes its share
    of them. A run that goes on finds all of these files again. A run that gathers, of which a part has begun to make
    states of these scores, needs those of all parts; it makes itself what is missing of blocks, and those of scorers
    after one that gives columns of images.
    """

    def __init__(self, session: Session, arrays: MappedArrays, part: Part | None = None) -> None:
        super().__init__(session)
        self._arrays = arrays
        self._part = part
        self._files = state_files(session.rundir)
        self._ready: dict[str, _Ready] = {}
        self._needs_parts = session.gathers and has_begun(session, SCORE, self._files.folder)
        in_parts = part is not None or self._needs_parts
        executor = session.components.executor
        if isinstance(self._files.folder, ObjectFolder):  # copies are on the disk of this machine
            self._in_blocks = part is None and not executor.in_process and works_here(executor)
        else:
            self._in_blocks = in_parts or not executor.in_process
        self._has_embeddings = not in_parts  # which parts do not have

    def summarized(self, inputs: Sequence[ScoreInput]) -> tuple[list[ScoreInput], dict[FeatureSpace, IntArray]]:
        """The inputs with their statistics and top images, and how many features are active on each image."""
        n_top = self.session.config.run.top_images
        wanted: dict[FeatureSpace, dict[str, Merges]] = {
            data.space: {SUMMARY: Summarizing(n_top), N_ACTIVE: NumberActive()} for data in inputs
        }
        division = self._made(wanted, inputs)
        known, counts = [], {}
        for data in inputs:
            summary = summary_of(self._files, division.key(data.space, SUMMARY), n_top)
            known.append(replace(data, features=data.features.knowing(summary)))
            counts[data.space] = merged_state(self._files, division.key(data.space, N_ACTIVE))["n"]
        return known, counts

    def ready(self, config: ComponentConfig, seen: Sequence[ScoreInput]) -> tuple[Any, Score]:
        """A scorer, and what gives its scores of a space; with the first that is shared, others are prepared."""
        known = self._ready.get(config.place)
        if known is None or (known.finish and known.columns != tuple(seen[0].of_images)):
            self._prepare(config, seen)
            known = self._ready[config.place]
        del self._ready[config.place]
        scorer, finish = known.scorer, known.finish

        def score(data: ScoreInput) -> Iterable[ScoreResult]:
            given: Iterable[ScoreResult] = finish[data.space]() if data.space in finish else scorer.score(data)
            return given

        return scorer, score

    def _prepare(self, first: ComponentConfig, seen: Sequence[ScoreInput]) -> None:
        """Have workers work for a scorer and those after it, up to one that gives columns which the next may need."""
        session, components = self.session, self.session.components
        merging: dict[FeatureSpace, dict[str, MergingScores]] = {data.space: {} for data in seen}
        in_blocks: dict[FeatureSpace, dict[str, BlockScores]] = {data.space: {} for data in seen}
        scorers = session.config.scorers
        for config in scorers[scorers.index(first) :]:
            scorer = components.build(config)
            self._ready[config.place] = _Ready(scorer, tuple(seen[0].of_images))
            can_merge = isinstance(scorer, MergingScorer) and self._can_share(config, self._has_embeddings)
            has_blocks = isinstance(scorer, BlockScorer) and self._can_share(config, self._part is None)
            for data in seen:
                with components.blaming(config):
                    merges = scorer.in_parts(data) if can_merge else None
                    is_asked = merges is None and self._in_blocks and has_blocks
                    scores = scorer.in_blocks(data) if is_asked else None
                    handover.refuse_lacking(components.who(config), "in_parts", merges, MergingScores)
                    handover.refuse_lacking(components.who(config), "in_blocks", scores, BlockScores)
                if merges is not None:
                    merging[data.space][config.place] = merges
                if scores is not None:
                    in_blocks[data.space][config.place] = scores
            if config.options.columns_of_images(session.dataset.ratings):
                break
        self._finish_merged(merging, seen)
        self._needs_parts = False
        self._finish_blocks(in_blocks, seen)

    def _finish_merged(
        self, merging: Mapping[FeatureSpace, Mapping[str, MergingScores]], seen: Sequence[ScoreInput]
    ) -> None:
        division = self._made(merging, seen)

        def finish(scores: MergingScores, place: str, key: str) -> Iterable[ScoreResult]:
            return self._finished(place, scores.finish(merged_state(self._files, key)), seen)

        for space, of_space in merging.items():
            for place, scores in of_space.items():
                self._ready[place].finish[space] = partial(finish, scores, place, division.key(space, place))

    def _finish_blocks(
        self, in_blocks: Mapping[FeatureSpace, Mapping[str, BlockScores]], seen: Sequence[ScoreInput]
    ) -> None:
        wanted = {space: list(of_space) for space, of_space in in_blocks.items() if of_space}
        division = made_of_blocks(self.session, wanted, seen, self._arrays, self._part)

        def finish(scores: BlockScores, space: FeatureSpace, place: str) -> Iterable[ScoreResult]:
            return self._finished(place, scores.finish(blocks_made(self._files, division, space, place)), seen)

        for space, of_space in in_blocks.items():
            for place, scores in of_space.items():
                self._ready[place].finish[space] = partial(finish, scores, space, place)

    def _finished(self, place: str, found: object, seen: Sequence[ScoreInput]) -> Iterable[ScoreResult]:
        """What `finish` of a scorer gave, checked under its own name."""
        config = next(config for config in self.session.config.scorers if config.place == place)
        return handover.results(self.session.components.who(config), "finish", found, seen[0].n_items)

    def _can_share(self, config: ComponentConfig, has_embeddings: bool) -> bool:
        """Whether others can be asked for states, as far as embeddings go."""
        spec = self.session.manager.offer(config.role, config.use).spec
        if not isinstance(spec, ScorerSpec):
            return False
        return has_embeddings or not (spec.needs_embeddings or spec.uses_embeddings)

    def _made(self, wanted: Mapping[FeatureSpace, Mapping[str, Merges]], seen: Sequence[ScoreInput]) -> Division:
        """Have workers make what is not there yet, so that there is a file for all images of a space."""
        division = self._division(wanted, seen)
        states = MergedStates(self.session, division, wanted, seen)
        lacking = {
            space: {name: one for name, one in merging.items() if not states.has_all(space, name)}
            for space, merging in wanted.items()
        }
        self._make({space: merging for space, merging in lacking.items() if merging}, seen)
        return division

    def _make(self, wanted: Mapping[FeatureSpace, Mapping[str, Merges]], seen: Sequence[ScoreInput]) -> None:
        division = self._division(wanted, seen)
        merged = MergedStates(self.session, division, wanted, seen)
        shards = [shard for space in wanted for shard in division.shards(space, seen[0].item_ids)]
        missing = [shard for shard in shards if not merged.take(shard)]
        if self._needs_parts:
            refuse_missing(self.session, SCORE, shards, missing, self._files.folder)
        work = ScoreWork.of(self.session, SharedInput.of(seen[0], self._arrays), division)
        with closing(done_by_workers(self.session, work, missing, "score")) as finished:
            for shard in finished:
                if not merged.take(shard):
                    raise RunDirError(f"{self._files.folder}: {shard} is missing; the same command makes it again")

    def _division(self, wanted: Mapping[FeatureSpace, Mapping[str, Merges]], seen: Sequence[ScoreInput]) -> Division:
        names = {data.space: tuple(wanted.get(data.space, ())) for data in seen}  # so numbers of shards do not change
        return Division(self.session.digests["score"], seen[0].n_items, names, tuple(seen[0].of_images))


def _n_active(data: ScoreInput) -> IntArray:
    """How many features are active on each image: L0."""
    import numpy as np

    parts = [matrix.sign().maximum(0).sum(axis=1) for _, matrix in data.chunks()]
    return np.concatenate([np.asarray(part).ravel() for part in parts] or [np.zeros(0)]).astype(np.int64)
