"""Stores of sessions that outlive their owners: whoever is none any more writes nothing."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scale_cases import Careless, Fragile, opened, redis_url, stores

from lstm_fast import LSTM

claim, save, end = stores.claim, stores.save, stores.end
ALL_BYTES = bytes(range(256))
NAME = "call-7"


@pytest.fixture(scope="module", params=["memory", "redis"])
def url(request):
    with redis_url() if request.param == "redis" else nullcontext() as found:
        yield found


def with_store(url, test):
    async def run():
        async with opened(url) as store:
            return await test(store)

    return asyncio.run(run())


def test_an_owner_hands_on_what_it_has_saved(url):
    async def test(store):
        lease = await claim(store, NAME, "ws://one/")
        assert lease.record.version[::2] == (1, 0)
        assert lease.record.snapshot == b""
        lease = await save(store, lease, 16, ALL_BYTES)
        lease = await save(store, lease, 32, ALL_BYTES[::-1])
        heir = await claim(store, NAME, "ws://two/")
        assert heir.record.version[::2] == (2, 32)
        assert heir.record.snapshot == ALL_BYTES[::-1]
        assert "ws://two/" in heir.record.version.owner
        await end(store, await save(store, heir, 33, b"x"))
        assert await store.read(NAME) is None

    with_store(url, test)


async def stale_writes(store):
    """Have an owner that was superseded write; return what is in the store before and after."""
    stale = await save(store, await claim(store, NAME, "a"), 16, b"sixteen")
    heir = await save(store, await claim(store, NAME, "b"), 20, b"twenty")
    assert heir.record.version.epoch == 2
    before = await store.read(NAME)
    refused = 0
    for write in (lambda: save(store, stale, 32, b"other"), lambda: end(store, stale)):
        try:
            await write()
        except stores.StaleOwnerError as error:
            refused += "epoch 1 of it is over" in str(error)
    return refused, before, await store.read(NAME)


def test_a_stale_owner_is_refused(url):
    refused, before, after = with_store(url, stale_writes)
    assert refused == 2
    assert before == after
    assert after.snapshot == b"twenty"


def test_a_store_that_does_not_compare_would_be_noticed(url):
    """The control of the test above."""
    refused, before, after = with_store(url, lambda store: stale_writes(Careless(store)))
    assert refused == 0
    assert before is not None
    assert after is None


def test_an_owner_from_before_the_session_began_anew_is_refused(url):
    async def test(store):
        stale = await claim(store, NAME, "a")
        await end(store, await claim(store, NAME, "b"))
        new = await claim(store, NAME, "a")
        assert new.record.version[::2] == stale.record.version[::2]
        with pytest.raises(stores.StaleOwnerError):
            await save(store, stale, 16, b"old")
        await save(store, new, 16, b"new")

    with_store(url, test)


def test_of_owners_at_once_each_has_its_epoch_and_the_last_one_writes(url):
    async def test(store):
        leases = await asyncio.gather(*(claim(store, NAME, f"owner-{n}") for n in range(12)))
        epochs = sorted(lease.record.version.epoch for lease in leases)
        assert epochs == [*range(1, 13)]
        done = await asyncio.gather(
            *(save(store, lease, 16, b"x") for lease in leases), return_exceptions=True
        )
        good = [one for one in done if not isinstance(one, Exception)]
        assert [one.record.version.epoch for one in good] == [12]
        assert all(isinstance(one, (stores.Lease, stores.StaleOwnerError)) for one in done)

    with_store(url, test)


def test_an_answer_that_was_lost_is_no_refusal(url):
    async def test(store):
        fragile = Fragile(store)
        fragile.loses_answers = True
        lease = await save(fragile, await claim(fragile, NAME, "a"), 16, b"x")
        assert lease.record.version[::2] == (1, 16)
        await end(fragile, lease)
        assert await store.read(NAME) is None

    with_store(url, test)


def test_a_counter_that_does_not_grow_is_refused(url):
    async def test(store):
        lease = await save(store, await claim(store, NAME, "a"), 16, b"x")
        for counter in (15, 16):
            with pytest.raises(ValueError, match=f"frame {counter} is saved after 16"):
                await save(store, lease, counter, b"y")

    with_store(url, test)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ä", "x" * 129, "a\n"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="names no session"):
        with_store(None, lambda store: claim(store, name, "a"))


def test_a_session_that_nobody_goes_on_with_is_forgotten_by_redis():
    async def test(url):
        for seconds in (3600, 0.01):
            store = stores.RedisStore(url, seconds=seconds)
            try:
                await claim(store, NAME, "a")
                if seconds == 3600:
                    left = await store._client.pttl("lstm_fast:session:" + NAME)
                    assert 0 < left <= 3_600_000
                while seconds < 1 and await store.read(NAME) is not None:
                    await asyncio.sleep(0.01)
            finally:
                await store.close()

    with redis_url() as url:
        asyncio.run(test(url))


def test_snapshots_of_streams_go_through_a_store(url):
    lstm = LSTM.random(3, 5)
    stream = lstm.stream()
    stream.run([[0.1, 0.2, 0.3]] * 7)

    async def test(store):
        await save(store, await claim(store, NAME, "a"), 7, stream.snapshot())
        return (await claim(store, NAME, "b")).record.snapshot

    heir = lstm.stream()
    heir.restore(with_store(url, test))
    x = [0.3, -0.2, 0.1]
    assert heir.step(x).tobytes() == stream.step(x).tobytes()


# ---- any order of what owners do, against what they must not be able to do ----

MOVES = st.lists(
    st.tuples(st.sampled_from(["claim", "save", "end"]), st.integers(0, 2)), max_size=25
)


async def play(store, moves):
    """Have three owners do these things; return what a wrong one has managed to write."""
    leases, newest, violations = {}, None, []
    for step, (what, who) in enumerate(moves):
        lease, is_owner = leases.get(who), who == newest
        if what == "claim":
            leases[who] = await claim(store, NAME, f"owner-{who}")
            newest = who
        elif lease is not None:
            before = await store.read(NAME)
            try:
                if what == "save":
                    counter = lease.record.version.counter + 1 + step
                    leases[who] = await save(store, lease, counter, bytes([step]))
                else:
                    await end(store, lease)
                    newest = None if is_owner else newest
            except stores.StaleOwnerError:
                if is_owner:
                    violations.append((step, "the owner was refused"))
            else:
                if not is_owner and before is not None:
                    violations.append((step, f"owner-{who}, which is none, has written"))
    found = await store.read(NAME)
    if newest is not None and found != leases[newest].record:
        violations.append((len(moves), "the record is not what its owner wrote"))
    return violations


@settings(max_examples=60)
@given(MOVES)
def test_in_any_order_only_owners_write(moves):
    assert with_store(None, lambda store: play(store, moves)) == []


@pytest.fixture(scope="module")
def redis():
    with redis_url() as url:
        yield url


@settings(max_examples=20)
@given(moves=MOVES)
def test_in_any_order_only_owners_write_to_redis(redis, moves):
    assert with_store(redis, lambda store: play(store, moves)) == []


def test_that_order_matters_would_be_noticed():
    """The control of the two above."""
    moves = [("claim", 0), ("claim", 1), ("save", 0)]
    assert with_store(None, lambda store: play(Careless(store), moves))
