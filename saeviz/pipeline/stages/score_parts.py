"""The share of a part of a run in the states of scores, once the features of all parts have been gathered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from saeviz.formats.files import OneWriter, remove_temporaries
from saeviz.formats.mapped import MappedArrays
from saeviz.pipeline.parts import Part
from saeviz.pipeline.session import Session
from saeviz.pipeline.stages.merged_states import MergedStates
from saeviz.pipeline.stages.partial_states import SUMMARY, Merges
from saeviz.pipeline.stages.score_work import Division, ScoreWork, SharedInput, given_arrays, scratch_of
from saeviz.pipeline.stages.scoring import SharedScoring
from saeviz.pipeline.stages.shards import done_by_workers
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureSpace
from saeviz.values.score_input import ScoreInput
from saeviz.values.shards import Shard


@contextmanager
def given_arrays_of_part(session: Session, part: Part) -> Iterator[MappedArrays]:
    """A folder for what workers of a part are given; one that it has left when it was killed is removed first."""
    folder, name = scratch_of(session.rundir), part.name
    only = OneWriter(folder, name)
    try:
        only.claim()
        remove_temporaries(folder, name)
    except RunDirError:  # the same part runs a second time, and the folder may be in use
        name = ""
    try:
        with given_arrays(session, folder, name) as arrays:
            yield arrays
    finally:
        only.release()


class PartScoring(SharedScoring):
    """Makes the states of a part's shards, and runs no scorer.

    Scores need the statistics of all images first. No part waits for others: after its own share of these it makes
    what is missing of theirs. Whoever finds the states of all shards of a space there merges them, which gives the same
    file whoever does it. Scorers that use embeddings are left to the run that gathers, and in an object store those by
    blocks of features.
    """

    def __init__(self, session: Session, arrays: MappedArrays, part: Part) -> None:
        super().__init__(session, arrays, part)
        self._part: Part = part

    def make(self, seen: Sequence[ScoreInput]) -> None:
        """Make the states of the first scorer and those after it, up to one that gives columns of images."""
        if self.session.config.scorers:
            self._prepare(self.session.config.scorers[0], seen)

    def _make(self, wanted: Mapping[FeatureSpace, Mapping[str, Merges]], seen: Sequence[ScoreInput]) -> None:
        division, part = self._division(wanted, seen), self._part
        shards = {space: division.shards(space, seen[0].item_ids) for space in wanted}
        missing = [shard for of_space in shards.values() for shard in of_space if self._is_missing(division, shard)]
        if not any(SUMMARY in merging for merging in wanted.values()):
            missing = [shard for shard in missing if part.has(shard)]
        missing.sort(key=part.distance)
        work = ScoreWork.of(self.session, SharedInput.of(seen[0], self._arrays), division)
        with closing(done_by_workers(self.session, work, missing, "score")) as finished:
            for _ in finished:
                pass
        for space, of_space in shards.items():
            if not any(self._is_missing(division, shard) for shard in of_space):
                merged = MergedStates(self.session, division, {space: wanted[space]}, seen)
                all(merged.take(shard) for shard in of_space)  # up to one that another part has merged before

    def _is_missing(self, division: Division, shard: Shard) -> bool:
        """Whether states of a shard are neither there nor merged."""
        space, rows = division.place_of(shard)
        keys = ((division.key(space, name, rows), division.key(space, name)) for name in division.names[space])
        return not all(self._files.has(own) or self._files.has(merged) for own, merged in keys)
