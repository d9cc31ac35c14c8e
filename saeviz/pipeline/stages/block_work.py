"""Scores by blocks of features: workers first copy the features in their order, and then work on blocks of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from saeviz.contract.merging import checked_state
from saeviz.formats.feature_parts import FORMAT, FeatureParts, is_whole, write_feature_part
from saeviz.formats.mapped import MappedArrays
from saeviz.formats.rundir import RunDir, digest_of
from saeviz.formats.states import StateFiles
from saeviz.pipeline.parts import Part
from saeviz.pipeline.session import Session, logger
from saeviz.pipeline.stages.score_work import (
    COPY,
    Division,
    ScoreWork,
    SharedInput,
    merged_state,
    scratch_of,
    state_files,
)
from saeviz.pipeline.stages.shards import done_by_workers
from saeviz.values.errors import RunDirError
from saeviz.values.features import FeatureSpace
from saeviz.values.score_input import ScoreInput
from saeviz.values.shards import Shard

if TYPE_CHECKING:
    from saeviz.pipeline.stages.partial_states import State

VALUES = 1 << 23
"""Activations of a block, 64 MiB, unless a single feature has more."""


@dataclass(frozen=True)
class BlockDivision(Division):
    """How features are divided among shards: `blocks` are those of each space, read from `copies`."""

    copies: Division = field(kw_only=True)
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

    def _before(self, space: FeatureSpace) -> int:
        spaces = list(self.blocks)
        return sum(len(self.blocks[one]) for one in spaces[: spaces.index(space)])


@dataclass
class CopyWork(ScoreWork):
    """As `ScoreWork`, of some images: copies their features in the order of features."""

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Make a file of the copy; yields how many more images are done."""
        space, rows = self.division.place_of(shard)
        path = _copy_path(self.rundir, self.division, space, rows)
        if is_whole(path):  # another part of the run has made it in the meantime
            yield len(shard)
            return
        found = []
        for _, matrix in self._stream(space, rows).parts():
            found.append(matrix)
            yield matrix.shape[0]
        write_feature_part(path, space.stack(found), rows.start)


@dataclass
class BlockWork(ScoreWork):
    """As `ScoreWork`, of a block of the features: makes what follows from it and leaves it in the run directory."""

    capability: ClassVar[str] = "in_blocks"

    def __call__(self, shard: Shard) -> Iterator[int]:
        """Make what is lacking of a shard; yields how many features are done."""
        assert isinstance(self.division, BlockDivision)  # noqa: S101 - `made_of_blocks` gave it
        space, features = self.division.place_of(shard)
        scores = self._merging(space)
        values = copy_of(self.rundir, self.division.copies, space).block(features)
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
    session: Session,
    names: Mapping[FeatureSpace, Sequence[str]],
    seen: Sequence[ScoreInput],
    arrays: MappedArrays,
    part: Part | None = None,
) -> BlockDivision:
    """Have workers make what is not there yet of these scorers, from copies by feature, which are made first.

    A part makes its share of the blocks. It waits for no other part: after its own share of the copies it makes what is
    missing of theirs.
    """
    files = state_files(session.rundir)
    digest, n_items = session.digests["score"], seen[0].n_items
    copies = Division(digest, n_items, dict.fromkeys(names, (COPY,)), ())
    _copy(session, copies, seen, arrays, part)
    blocks = {space: copy_of(session.rundir, copies, space).blocks(VALUES) for space in names}
    division = BlockDivision(digest, n_items, names, tuple(seen[0].of_images), copies=copies, blocks=blocks)
    shards = [shard for space in names for shard in division.shards(space) if part is None or part.has(shard)]
    missing = [shard for shard in shards if _lacking(files, division, shard)]
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


def copy_of(rundir: RunDir, copies: Division, space: FeatureSpace) -> FeatureParts:
    """The copy of the features of a space, of which all files are there."""
    paths = [_copy_path(rundir, copies, space, rows) for rows in copies.rows()]
    return FeatureParts(paths, space.n_features, copies.n_items)


def _copy_path(rundir: RunDir, copies: Division, space: FeatureSpace, rows: slice) -> Path:
    return copies_in(rundir) / f"{copies.key(space, COPY, rows)}-{FORMAT}"


def _lacking(files: StateFiles, division: BlockDivision, shard: Shard) -> bool:
    space, features = division.place_of(shard)
    return any(files.read(division.key(space, name, features)) is None for name in division.names[space])


def _copy(
    session: Session, copies: Division, seen: Sequence[ScoreInput], arrays: MappedArrays, part: Part | None
) -> None:
    """Have workers copy the features of all images; what a run that was killed has left is used again."""

    def path_of(shard: Shard) -> Path:
        return _copy_path(session.rundir, copies, *copies.place_of(shard))

    shards = [shard for space in copies.names for shard in copies.shards(space, seen[0].item_ids)]
    missing = [shard for shard in shards if not is_whole(path_of(shard))]
    if part is not None:
        missing.sort(key=part.distance)
    if missing:
        logger.info("score: the features of %s are copied in the order of features", ", ".join(map(str, copies.names)))
    work = CopyWork.of(session, SharedInput.of(seen[0], arrays), copies)
    with closing(done_by_workers(session, work, missing, "by feature")) as finished:
        for shard in finished:
            if not path_of(shard).exists():
                raise RunDirError(f"{copies_in(session.rundir)}: {shard} is missing; the same command makes it again")
