"""Pictures decoded in threads, ahead of their use."""

from __future__ import annotations

import threading
import time

import pytest

from saeviz import Context, ImageError, ImageItem
from saeviz.toolkit.decode import decode_ahead
from tests.waiting import wait_until


def items(n):
    return [ImageItem(f"i{i}", b"") for i in range(n)]


def number(item):
    return int(item.item_id[1:])


@pytest.mark.parametrize(("n", "sizes"), [(0, []), (1, [1]), (4, [4]), (9, [4, 4, 1])])
def test_batches_in_order(n, sizes):
    batches = list(decode_ahead(iter(items(n)), number, batch_size=4, context=Context()))
    assert [len(found) for _, found in batches] == sizes
    assert [i for _, found in batches for i in found] == list(range(n))
    assert [item.item_id for kept, _ in batches for item in kept] == [f"i{i}" for i in range(n)]


def test_order_holds_when_the_first_is_the_slowest():
    def slow_first(item):
        time.sleep(0.05 if number(item) == 0 else 0)
        return number(item)

    [(_, found)] = decode_ahead(items(6), slow_first, batch_size=6, context=Context(), workers=3)
    assert found == list(range(6))


def test_an_unreadable_picture_is_reported_and_batches_fill_up():
    failed = []

    def odd_only(item):
        if number(item) % 2 == 0:
            raise ImageError(f"bad {item.item_id}")
        return number(item)

    context = Context(failed=lambda subject, error: failed.append((subject, error)))
    batches = list(decode_ahead(items(10), odd_only, batch_size=3, context=context))
    assert [found for _, found in batches] == [[1, 3, 5], [7, 9]]
    assert failed == [(f"i{i}", f"bad i{i}") for i in range(0, 10, 2)]


def test_only_unreadable_pictures_give_no_batch():
    def bad(item):
        raise ImageError("bad")

    assert list(decode_ahead(items(5), bad, batch_size=2, context=Context(failed=lambda *_: None))) == []


def test_any_other_error_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        list(decode_ahead(items(3), lambda item: 1 // number(item), batch_size=2, context=Context()))


def test_it_reads_no_further_ahead_than_two_batches():
    taken = 0

    def source():
        nonlocal taken
        for item in items(1000):
            taken += 1
            yield item

    batches = decode_ahead(source(), number, batch_size=4, context=Context(), workers=2)
    next(batches)
    assert taken <= 4 + 2 * 4 + 2
    batches.close()
    assert taken < 20


def test_decoding_happens_in_other_threads_which_end():
    seen = set()

    def note(item):
        seen.add(threading.current_thread().name)
        return item

    batches = decode_ahead(items(50), note, batch_size=4, context=Context())
    next(batches)
    batches.close()
    assert seen
    assert all(name.startswith("saeviz-decode") for name in seen)
    wait_until(lambda: not any(thread.name in seen for thread in threading.enumerate()))
