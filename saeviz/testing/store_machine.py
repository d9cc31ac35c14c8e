"""A store beside a dictionary in memory: Hypothesis writes to both, opens, kills and reads, and seeks a difference."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import zip_longest
from typing import TYPE_CHECKING, NoReturn

from saeviz.contract.stores import ManyWriters
from saeviz.testing.stored import (
    OTHERS,
    SPACE,
    OpenStore,
    assert_kept,
    assert_same,
    read_all,
    rows_are_equal,
    versioned,
    versioned_row,
    writer,
)
from saeviz.values.features import FeatureBatch, FeatureSpace

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

IDS = tuple(f"item {number}" for number in range(9))
SPACES = (SPACE, OTHERS[0])
WRITTEN = b"written\n"


def check_like_a_dictionary(
    open_store: OpenStore, *, durable: bool, many_writers: bool, series: int, steps: int
) -> None:
    """Raise what Hypothesis raises for the shortest series of steps after which store and dictionary differ."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis.stateful import run_state_machine_as_test

    chosen = settings(
        max_examples=series,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    machine = machine_of(open_store, durable=durable, many_writers=many_writers)
    run_state_machine_as_test(machine, settings=chosen)


def machine_of(open_store: OpenStore, *, durable: bool, many_writers: bool) -> type[RuleBasedStateMachine]:
    """What may happen to a store; each write has features of its own, which follow from its version."""
    from hypothesis import strategies as st
    from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

    spaces = st.sampled_from(SPACES)
    some_ids = st.lists(st.sampled_from(IDS), unique=True, min_size=1, max_size=5)

    class StoreMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.store = open_store()
            self.store.clear()
            self.kept: dict[FeatureSpace, dict[str, int]] = {space: {} for space in SPACES}
            self.version = 0

        @rule(space=spaces, item_ids=some_ids)
        def write_or_replace(self, space: FeatureSpace, item_ids: list[str]) -> None:
            self.version += 1
            self.store.write(versioned(space, item_ids, self.version))
            self.kept[space].update(dict.fromkeys(item_ids, self.version))

        @rule(space=spaces, item_ids=some_ids)
        def read_some(self, space: FeatureSpace, item_ids: list[str]) -> None:
            for item_id in self.kept[space].keys() & set(item_ids):
                expected = versioned(space, [item_id], self.kept[space][item_id])
                assert_same(read_all(self.store, space, [item_id]), expected)

        @rule()
        def read_everything(self) -> None:
            assert_kept(self.store, self.kept)

        @precondition(lambda self: durable)
        @rule()
        def open_again(self) -> None:
            self.store.close()
            self.store = open_store()

        @precondition(lambda self: durable and hasattr(os, "fork"))
        @rule(space=spaces, written=some_ids, begun=some_ids, milliseconds=st.integers(0, 3))
        def be_killed_and_go_on(
            self, space: FeatureSpace, written: list[str], begun: list[str], milliseconds: int
        ) -> None:
            self.store.close()
            self.version += 2
            batches = versioned(space, written, self.version - 1), versioned(space, begun, self.version)
            write_and_be_killed(open_store, *batches, milliseconds / 1000)
            self.kept[space].update(dict.fromkeys(written, self.version - 1))
            self.store = open_store()
            stored = read_all(self.store, space)
            self.kept[space].update(dict.fromkeys(of_version(stored, begun, self.version), self.version))

        @precondition(lambda self: durable and many_writers and isinstance(self.store, ManyWriters))
        @rule(space=spaces, one=some_ids, other=some_ids)
        def two_write_at_once(self, space: FeatureSpace, one: list[str], other: list[str]) -> None:
            self.store.close()
            self.version += 1
            with ExitStack() as stack:
                writers = [stack.enter_context(closing(writer(open_store, name))) for name in ("one", "two")]
                for pair in zip_longest(one, other):
                    for one_of_two, item_id in zip(writers, pair, strict=True):
                        if item_id is not None:
                            one_of_two.write(versioned(space, [item_id], self.version))
            self.kept[space].update(dict.fromkeys([*one, *other], self.version))
            self.store = open_store()

        def teardown(self) -> None:
            assert_kept(self.store, self.kept)
            self.store.close()

    return StoreMachine


def of_version(stored: FeatureBatch, item_ids: Sequence[str], version: int) -> list[str]:
    """Those of the items that a store has in this version."""
    rows: Mapping[str, int] = {item_id: row for row, item_id in enumerate(stored.item_ids)}
    return [
        item_id
        for item_id in item_ids
        if item_id in rows
        and rows_are_equal(stored, rows[item_id], versioned_row(item_id, version, stored.space.n_features))
    ]


def write_and_be_killed(open_store: OpenStore, written: FeatureBatch, begun: FeatureBatch, seconds: float) -> None:
    """Another process writes a batch, begins with a second one, and is killed after so many seconds."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _write_until_killed(open_store, written, begun, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as said:
        first = said.readline()
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        reason = said.read().decode() if first != WRITTEN else ""
    assert first == WRITTEN, f"the writing process failed by itself: {first.decode()}{reason}"


def _write_until_killed(open_store: OpenStore, written: FeatureBatch, begun: FeatureBatch, writing: int) -> NoReturn:
    try:
        store = open_store()
        store.write(written)
        os.write(writing, WRITTEN)
        store.write(begun)
        time.sleep(60)
    except BaseException:  # noqa: BLE001 - told by the process that waits
        os.write(writing, traceback.format_exc().encode())
    finally:
        os._exit(1)
