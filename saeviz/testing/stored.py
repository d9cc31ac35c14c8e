"""What the suites of stores write, and how they tell that it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from saeviz.contract import handover
from saeviz.contract.stores import FeatureStore, ManyWriters
from saeviz.formats.plain import quoted
from saeviz.testing.contract import assert_equal
from saeviz.values.checks import kind_of
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from saeviz.typing import Float32Array

OpenStore = Callable[[], FeatureStore]
SPACE = FeatureSpace(11, "cls", 50)
OTHERS = (
    FeatureSpace(2, "cls", 8),
    FeatureSpace(11, "patch-max", 50),
    FeatureSpace(11, "patch-mean", 50),
    FeatureSpace(11, "cls", 50, "mlp"),
    FeatureSpace(11, "spatial", 50),
    FeatureSpace("stage3", "frame-max", 50),
)
"""Spaces that are not `SPACE`, some by a name, a stage, or another kind of tokens alone."""


def writer(open_store: OpenStore, name: str) -> FeatureStore:
    """The store, newly opened, for the writer `name`; `""` is the one without."""
    store = open_store()
    if not name:
        return store
    assert isinstance(store, ManyWriters), f"{kind_of(store)} is no saeviz.ManyWriters: it lacks writer"
    return store.writer(name)


def dense_batch(space: FeatureSpace, item_ids: Sequence[str], rows: Sequence[Sequence[float]]) -> FeatureBatch:
    """A batch of these rows."""
    from scipy.sparse import csr_array

    return FeatureBatch(space, tuple(item_ids), csr_array(rows))


def versioned(space: FeatureSpace, item_ids: Sequence[str], version: int = 0) -> FeatureBatch:
    """A batch whose rows are determined by the item ids and the version."""
    import numpy as np
    from scipy.sparse import csr_array

    rows = [versioned_row(item_id, version, space.n_features) for item_id in item_ids]
    return FeatureBatch(space, tuple(item_ids), csr_array(np.array(rows).reshape(-1, space.n_features)))


def versioned_row(item_id: str, version: int, n_features: int = SPACE.n_features) -> Float32Array:
    """The dense row of one item in `versioned`."""
    import numpy as np

    generator = np.random.default_rng([version, *item_id.encode("utf-8", "surrogatepass")])
    row: Float32Array = (generator.random(n_features) * (generator.random(n_features) < 0.3)).astype(np.float32)
    return row


def batches_of(
    store: FeatureStore, space: FeatureSpace, item_ids: Sequence[str] | None = None
) -> Iterator[FeatureBatch]:
    """What `read` yields, checked as in a run to be batches."""
    return handover.each("the store", "read", store.read(space, item_ids), FeatureBatch)


def read_all(store: FeatureStore, space: FeatureSpace, item_ids: Sequence[str] | None = None) -> FeatureBatch:
    """Everything that `read` yields, as one batch."""
    batches = list(batches_of(store, space, item_ids))
    for batch in batches:
        assert batch.space == space, f"read of {space} yields a batch of {batch.space}"
    ids = tuple(item_id for batch in batches for item_id in batch.item_ids)
    return FeatureBatch(space, ids, space.stack(batch.matrix for batch in batches))


def ids_of(store: FeatureStore, space: FeatureSpace) -> list[str]:
    """What `item_ids` gives, checked as in a run to be texts."""
    return list(handover.item_ids("the store", space, store.item_ids(space)))


def spaces_of(store: FeatureStore) -> list[FeatureSpace]:
    """What `spaces` gives, checked as in a run to be a list of spaces."""
    return handover.listed("the store", "spaces", store.spaces(), FeatureSpace)


def assert_same(found: FeatureBatch, expected: FeatureBatch, what: str = "what read gives") -> None:
    """Assert that batches are equal to the last bit."""
    __tracebackhide__ = True
    assert found.space == expected.space, f"{what} is of {found.space}, not of {expected.space}"
    assert_equal(list(found.item_ids), list(expected.item_ids), f"{what}: the items")
    kinds = found.matrix.dtype, expected.matrix.dtype
    assert kinds[0] == kinds[1], f"{what}: the values are {kinds[0]}, not {kinds[1]}"
    if all(
        getattr(found.matrix, part).tobytes() == getattr(expected.matrix, part).tobytes()
        for part in ("indptr", "indices", "data")
    ):
        return
    for row, item_id in enumerate(expected.item_ids):
        (places, values), (known, wanted) = (_active(batch, row) for batch in (found, expected))
        assert places == known, f"{what}: in {item_id!r} the features {_some(places)} fire, not {_some(known)}"
        wrong = [place for place, value in enumerate(values) if value.tobytes() != wanted[place].tobytes()]
        assert not wrong, (
            f"{what}: feature {places[wrong[0]]} of {item_id!r} is {values[wrong[0]]}, not {wanted[wrong[0]]}"
        )


def _active(batch: FeatureBatch, row: int) -> tuple[list[int], Float32Array]:
    one = batch.matrix[[row]]
    return one.indices.tolist(), one.data


def _some(places: list[int]) -> str:
    return quoted(places) if places else "none"


def assert_items(store: FeatureStore, space: FeatureSpace, expected: Sequence[str]) -> None:
    """Assert that the store has these items of a space in this order, as `item_ids` says and as `read` gives them."""
    __tracebackhide__ = True
    assert_equal(ids_of(store, space), list(expected), f"the items that item_ids({space}) gives")
    assert_equal(list(read_all(store, space).item_ids), list(expected), f"the items that read({space}) gives")


def assert_spaces(store: FeatureStore, expected: Sequence[FeatureSpace]) -> None:
    """Assert that `spaces` gives these, sorted: those that have items, and no others."""
    __tracebackhide__ = True
    found, wanted = (
        [(str(space), space.n_features) for space in spaces] for spaces in (spaces_of(store), sorted(expected))
    )
    assert_equal(found, wanted, "the spaces that spaces() gives, sorted and only those with items,")


def assert_empty(store: FeatureStore, when: str) -> None:
    """Assert that the store has nothing."""
    __tracebackhide__ = True
    assert_equal([str(space) for space in spaces_of(store)], [], f"the spaces {when}")
    assert_equal(ids_of(store, SPACE), [], f"the items {when}")
    nothing: list[str] = []
    for item_ids in (None, nothing):
        found = [len(batch) for batch in batches_of(store, SPACE, item_ids)]
        assert not found, f"{when} read({SPACE}, {item_ids}) yields batches of {found} items; it must yield none"


def assert_kept(store: FeatureStore, expected: dict[FeatureSpace, dict[str, int]]) -> None:
    """Assert that the store has every item in its expected version and nothing else."""
    __tracebackhide__ = True
    assert_spaces(store, [space for space, versions in expected.items() if versions])
    for space, versions in expected.items():
        everything = read_all(store, space)
        assert_equal(sorted(everything.item_ids), sorted(versions), f"the items that read({space}) gives")
        assert_equal(ids_of(store, space), list(everything.item_ids), f"the items that item_ids({space}) gives")
        for row, item_id in enumerate(everything.item_ids):
            assert rows_are_equal(everything, row, versioned_row(item_id, versions[item_id], space.n_features)), (
                f"{item_id!r} in {space} does not have the features that were written last"
            )


def rows_are_equal(batch: FeatureBatch, row: int, expected: Float32Array) -> bool:
    """Whether a row of a batch equals this dense row to the last bit."""
    return bool(batch.matrix[[row]].toarray()[0].tobytes() == expected.tobytes())
