"""What a server keeps of the answers it made last: bounded, made once, never a failure."""

from __future__ import annotations

import asyncio

import pytest

from saeviz.serving.limits import Recent


def test_what_several_ask_at_once_is_made_once():
    made = []

    async def make():
        made.append(1)
        await asyncio.sleep(0)
        return b"picture"

    async def ask():
        kept = Recent(100)
        found = await asyncio.gather(*(kept.get("a", make) for _ in range(5)))
        return [*found, await kept.get("a", make)]

    assert asyncio.run(ask()) == [b"picture"] * 6
    assert len(made) == 1


def test_those_used_least_recently_go_first():
    made = []

    async def ask():
        kept = Recent(10)
        for key in "abacab":

            async def make(key=key):
                made.append(key)
                return key.encode() * 4

            assert await kept.get(key, make) == key.encode() * 4

    asyncio.run(ask())
    assert made == ["a", "b", "c", "b"], "b was the one to go for c, a was not"


def test_one_that_is_larger_than_all_is_handed_over_and_not_kept():
    async def ask():
        kept = Recent(3)

        async def make():
            return b"large"

        return [await kept.get("a", make), await kept.get("a", make)]

    assert asyncio.run(ask()) == [b"large", b"large"]


def test_a_failure_is_told_to_all_who_wait_and_not_kept():
    failures = iter([ValueError("gone"), None])

    async def make():
        await asyncio.sleep(0)
        if (failure := next(failures)) is not None:
            raise failure
        return b"there"

    async def ask():
        kept = Recent(100)
        both = await asyncio.gather(*(kept.get("a", make) for _ in range(2)), return_exceptions=True)
        assert [str(one) for one in both] == ["gone", "gone"]
        return await kept.get("a", make)

    assert asyncio.run(ask()) == b"there"


def test_one_who_leaves_does_not_end_what_others_wait_for():
    async def ask():
        kept, begun = Recent(100), asyncio.Event()

        async def make():
            begun.set()
            await asyncio.sleep(0)
            return b"there"

        leaving = asyncio.ensure_future(kept.get("a", make))
        await begun.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        return await kept.get("a", make)

    assert asyncio.run(ask()) == b"there"
