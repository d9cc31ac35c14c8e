"""Scores by blocks of features: a copy of the features in their order, and what workers make of its blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from saeviz.contract.merging import checked_state
from saeviz.formats.by_feature import ByFeature, write_by_feature
from saeviz.formats.files import atomic_folder, remove_temporaries
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.formats.states import StateFiles
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.score_work import (
    Division,
    ScoreWork,
    SharedInput,
    merged_state,
    scratch_of,
    state_files,
)
from saeviz.pipeline.stages.shards import done_by_workers
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureBatch, FeatureSpace
from saeviz.values.score_input import ScoreInput
from saeviz.values.shards import Shard

if TYPE_CHECKING:
    from saeviz.pipeline.stages.score_work import State

VALUES = 1 << 23
"""Activations of a block, 64 MiB, unless a single feature has more."""


@dataclass(frozen=True)
class BlockDivision(Division):
    """How features are divided among shards: `blocks` are those of each space."""

    blocks: Mapping[FeatureSpace, Sequence[slice]] = field(kw_only=True)

    def shards(self, space: FeatureSpace, item_ids: Sequence[str] = ()) -> list[Shard]:  # noqa: ARG002 - of features
        """The shards of a space, which have features in the place of images; numbers go on from space to space."""
        before = self._before(space)
        found = []
        for place, features in enumerate(self.blocks[space]):
            key = digest_of([self.digest, str(space), features.start, features.stop, *self.names[space]])
            names = tuple(f"{space}/{index}" for index in range(features.start, features.stop))
            found.append(Shard(before + place, key, names, ()))
        return found

    def place_of(self, shard: Shard) -> tuple[FeatureSpace, slice]:
        """The space of a shard, and which of its features."""
        space = [space for space in self.blocks if self._before(space) <= shard.number][-1]
        return space, self.blocks[space][shard.number - self._before(space)]

    def key(self, space: FeatureSpace, name: str, rows: slice | None = None) -> str:
        """The key of what a scorer has made of these features, or as in `Division` of all images for None."""
        key = super().key(space, name)
        return key if rows is None else digest_of([key, "features", rows.start, rows.stop])

    def copy(self, space: FeatureSpace) -> str:
        """The name of the copy of the features of a space."""
        return digest_of([self.digest, self.n_items, str(space)])

    def _before(self, space: FeatureSpace) -> int:
        spaces = list(self.blocks)
        return sum(len(self.blocks[one]) for one in spaces[: spaces.index(space)])


@dataclass
class BlockWork(ScoreWork):
    """As `ScoreWork`, of a block of the features: makes what follows from it and leaves it in the run directory."""

    capability: ClassVar[str] = "in_blocks"

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Make what is lacking of a shard; yields how many features are done."""
        assert isinstance(self.division, BlockDivision)  # noqa: S101 - `made_of_blocks` gave it
        space, features = self.division.place_of(shard)
        scores = self._merging(space)
        values = ByFeature(copies_in(self.rundir) / self.division.copy(space)).block(str(space), features)
        for array in (values.data, values.indices, values.indptr):
            array.flags.writeable = False
        for name, of_space in scores.items():
            key = self.division.key(space, name, features)
            if not self._files.has(key):
                with self._blaming(name):
                    made = checked_state("block", of_space.block(features, values))
                self._files.write(key, {(0, 0): made})
        yield len(shard)


def made_of_blocks(
    session: Session, names: Mapping[FeatureSpace, Sequence[str]], seen: Sequence[ScoreInput], arrays: MappedArrays
) -> BlockDivision:
    """Have workers make what is not there yet of these scorers, from copies by feature, which are made first."""
    files = state_files(session.rundir)
    given = (session.digests["score"], seen[0].n_items, names, tuple(seen[0].of_images))
    plain = BlockDivision(*given, blocks={})
    copies = {data.space: _copied(session, data, plain.copy(data.space)) for data in seen if data.space in names}
    division = BlockDivision(*given, blocks={space: copy.blocks(str(space), VALUES) for space, copy in copies.items()})
    missing = [shard for space in names for shard in division.shards(space) if _lacking(files, division, shard)]
    work = BlockWork.of(session, SharedInput.of(seen[0], arrays), division)
    with closing(done_by_workers(session, work, missing, "score by feature")) as finished:
        for shard in finished:
            if _lacking(files, division, shard):
                raise RunDirError(f"{files.folder}: {shard} is missing; the same command makes it again")
    return division


def blocks_made(files: StateFiles, division: BlockDivision, space: FeatureSpace, name: str) -> Iterator[State]:
    """What workers have made of a space for a scorer, in the order of the features."""
    for features in division.blocks[space]:
        yield merged_state(files, division.key(space, name, features))


def copies_in(rundir: RunDir) -> Path:
    """Where the copies are: they go when the states do."""
    return scratch_of(rundir) / "by-feature"


def _lacking(files: StateFiles, division: BlockDivision, shard: Shard) -> bool:
    space, features = division.place_of(shard)
    return any(files.read(division.key(space, name, features)) is None for name in division.names[space])


def _copied(session: Session, data: ScoreInput, name: str) -> ByFeature:
    """The copy of the features of a space: one that is whole, left by a run that was killed, or a new one."""
    folder = copies_in(session.rundir) / name
    with suppress(RunDirError, OSError, ValueError, LookupError, TypeError):
        found = ByFeature(folder)
        found.check()
        if found.shape_of(str(data.space)) == (data.space.n_features, data.n_items):
            return found
    logger.info("score: the features of %s are copied in the order of features", data.space)
    remove_temporaries(folder.parent)
    with atomic_folder(folder) as empty, closing(session.tally(data.n_items, "by feature")) as tally:

        def counted() -> Iterator[FeatureBatch]:
            for batch in data.features.batches():
                yield batch
                tally.add(str(data.space), len(batch))

        write_by_feature(empty, [(data.space, counted())], by_image=False)
    return ByFeature(folder)
