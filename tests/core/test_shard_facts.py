"""What the file of a shard says of itself is what a worker writes, or it counts as damaged."""

from __future__ import annotations

import json

import pytest

import saeviz
from saeviz.formats.damage import UNREADABLE
from saeviz.formats.shard_facts import ShardFacts

FACTS = ShardFacts(
    "d",
    [("a\nb", "1"), ("\U0001f408" * 2500, ""), ("c", "2")],
    [(saeviz.FeatureSpace(1, "cls", 32), ["c", "a\nb"], ["reconstruction_error"])],
    ["c"],
    [("a\nb", "cannot be read: /photos/\udcff.png"), ("the whole batch", "twice"), ("the whole batch", "twice")],
    {"provenance": {"weights": "7f3a"}},
)


def test_what_is_written_is_read():
    assert ShardFacts.parse(FACTS.as_json()) == FACTS


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("format", 99),
        ("digest", None),
        ("shard", [1]),
        ("shard", [["a", ["b"]]]),
        ("spaces", None),
        ("spaces", [[{"layer": 1}, [], []]]),
        ("spaces", [[json.loads(FACTS.as_json())["spaces"][0][0], ["elsewhere"], []]]),
        ("item_ids", ["c", "c"]),
        ("item_ids", 5),
        ("failures", [["c", 7]]),
        ("provenance", ["7f3a"]),
    ],
)
def test_what_no_worker_writes_is_refused(name, given):
    with pytest.raises((*UNREADABLE, saeviz.DataError)):
        ShardFacts.parse(json.dumps({**json.loads(FACTS.as_json()), name: given}).encode())
