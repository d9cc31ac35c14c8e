"""The suite of stores with several writers is demanding: each of these faults is found."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import pytest

import saeviz
from saeviz.testing import ManyWritersContract, fakes
from tests.core.test_testing_contracts import failed_tests


class Contract(ManyWritersContract):
    """Without the killing, which the tests of real stores do."""

    test_loses_and_doubles_nothing_when_writers_are_killed = None


@dataclass
class Shared:
    """What all stores see that are opened."""

    rows: dict = field(default_factory=dict)
    wrote: dict = field(default_factory=dict)
    """The names of the writers of an item."""


class Memory(fakes.MemoryStore):
    """A store in memory with writers."""

    def __init__(self, shared):
        self._rows, self._wrote, self.name = shared.rows, shared.wrote, ""

    def writer(self, name):
        other = copy(self)
        other.name = name
        return other

    def write(self, batch):
        super().write(batch)
        for item_id in batch.item_ids:
            self._wrote.setdefault((batch.space, item_id), []).append(self.name)

    def read(self, space, item_ids=None):
        return super().read(space, self.item_ids(space) if item_ids is None else item_ids)

    def item_ids(self, space):
        unnamed = [item_id for item_id in self._rows.get(space, {}) if "" in self._wrote[space, item_id]]
        return unnamed + sorted(self._rows.get(space, {}).keys() - set(unnamed))

    def clear(self):
        super().clear()
        self._wrote.clear()


class InOrderOfArrival(Memory):
    def item_ids(self, space):
        return list(self._rows.get(space, {}))


class KeepsWhatIsThere(Memory):
    def write(self, batch):
        rows = self._rows.get(batch.space, {})
        new = [row for row, item_id in enumerate(batch.item_ids) if item_id not in rows]
        ids = tuple(batch.item_ids[row] for row in new)
        super().write(saeviz.FeatureBatch(batch.space, ids, batch.matrix[new]))


class AnItemForEachWriter(Memory):
    def item_ids(self, space):
        return [item_id for item_id in super().item_ids(space) for _ in set(self._wrote[space, item_id])]


class ClearsItsOwn(Memory):
    def clear(self):
        for space, rows in self._rows.items():
            for item_id in [item_id for item_id in rows if self.name in self._wrote[space, item_id]]:
                del rows[item_id]


class SeesItsOwn(Memory):
    def item_ids(self, space):
        ids = super().item_ids(space)
        return [item_id for item_id in ids if not self.name or self.name in self._wrote[space, item_id]]


class OneAtATime(Memory):
    at_work: str | None = None

    def write(self, batch):
        if type(self).at_work not in (None, self.name):
            raise saeviz.RunDirError("somebody else writes")
        type(self).at_work = self.name
        super().write(batch)

    def close(self):
        type(self).at_work = None


FAULTS = [
    (InOrderOfArrival, "test_the_order_is_not_that_of_who_wrote_what_when"),
    (KeepsWhatIsThere, "test_a_later_writer_replaces_and_the_earlier_one_once_more"),
    (AnItemForEachWriter, "test_an_item_that_both_write_is_stored_once"),
    (ClearsItsOwn, "test_clear_forgets_what_all_have_written"),
    (SeesItsOwn, "test_a_writer_reads_what_others_wrote_before_it"),
    (OneAtATime, "test_two_write_at_the_same_time"),
]


def failed(store):
    def fixtures():
        shared = Shared()
        return {"open_store": lambda: store(shared)}

    return failed_tests(Contract, fixtures)


@pytest.mark.parametrize(("store", "test"), FAULTS)
def test_writers_that_disturb_each_other_are_found(store, test):
    assert test in failed(store)


def test_writers_that_do_not_pass():
    assert failed(Memory) == set()
