"""The driver redis against a real redis-server: what a consumer sees, over kills, hangs, and a server that will not."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager

import pytest

from gateway.actions.driver import Refused, Surroundings, Undelivered
from gateway.actions.redis_driver import RedisDriver, RedisSettings
from gateway.clock import RealClock
from gateway.inbox import CommandInbox
from gateway.journal.entry import Entry
from tests.real.mosquitto import until
from tests.servers.authority import Authority
from tests.servers.redis import HOST, RedisServer

STREAM = "spectrophone:box7"
PATIENT_MS = 60_000
LARGE = 5000


def entries(first, count):
    """Measurements of one node, with the numbers first, first + 1 ..."""
    return [
        Entry(
            number,
            number * 10**9,
            "measurement",
            "co2",
            {"kind": "measurement", "time": f"t{number}", "node": "co2", "ppm": number / 8, "flags": []},
        )
        for number in range(first, first + count)
    ]


def alert(number, rule, state):
    return Entry(number, number * 10**9, "alert", "co2", {"kind": "alert", "time": None, "rule": rule, "state": state})


@asynccontextmanager
async def driving(url, **options):
    settings = RedisSettings(connection_string=url, **options)
    driver = RedisDriver(settings, Surroundings("uplink", "box7", RealClock(), CommandInbox()))
    await driver.start()
    try:
        yield driver
    finally:
        await driver.close()


def url_of(server, login="", scheme="redis"):
    return f"{scheme}://{login}{HOST}:{server.port}"


def received(server):
    """Numbers of the stream's entries, repeats and all, in order."""
    with server.client() as client:
        found = client.xrange(STREAM)
    for _, fields in found:
        payload = json.loads(fields["payload"])
        assert payload["key"] == fields["key"]
        assert payload["ppm"] == int(fields["key"].removeprefix("box7-")) / 8
        assert payload["time"] == fields["time"]
    return [int(fields["key"].removeprefix("box7-")) for _, fields in found]


def without_repeats(numbers):
    """What a consumer keeps that drops the keys it has seen."""
    return list(dict.fromkeys(numbers))


def undelivered(url, batch=None, **options):
    """Why one batch was not taken, and the driver's status then."""

    async def main():
        async with driving(url, **options) as driver:
            with pytest.raises(Undelivered) as caught:
                await driver.deliver(batch or entries(1, 3))
            return caught.value.reason, driver.status()

    return asyncio.run(main())


def test_a_stream_in_order_and_cut_at_its_length(tmp_path):
    async def main(server):
        async with driving(url_of(server), max_len=200) as driver:
            for first in range(1, 1001, 50):
                await driver.deliver(entries(first, 50))
            assert driver.status() == {"server": f"{HOST}:{server.port}", "mode": "stream", "connected": True}

    with RedisServer(tmp_path) as server:
        asyncio.run(main(server))
        numbers = received(server)
        assert numbers == list(range(numbers[0], 1001))
        assert 200 <= len(numbers) <= 200 + 100
        with server.client() as client:
            assert client.info("clients")["connected_clients"] == 1


def test_a_subscriber_hears_every_entry_in_order(tmp_path):
    async def main(server):
        async with driving(url_of(server), mode="pub_sub", channel_or_prefix="gas/{node}") as driver:
            await driver.deliver(entries(1, 30))
            await driver.deliver(entries(31, 30))

    with RedisServer(tmp_path) as server, server.client() as client, client.pubsub() as subscriber:
        subscriber.subscribe("gas/co2")
        assert subscriber.get_message(timeout=10)["type"] == "subscribe"
        asyncio.run(main(server))
        heard = [json.loads(subscriber.get_message(timeout=10)["data"])["key"] for _ in range(60)]
        assert heard == [f"box7-{number}" for number in range(1, 61)]


def test_keys_hold_the_newest_and_say_when_they_expire(tmp_path):
    async def main(server):
        async with driving(url_of(server) + "/3", mode="key_value", expiry_seconds=600) as driver:
            batch = [alert(1, "high/co2", "raised"), *entries(2, 8), alert(10, "low", "raised")]
            await driver.deliver(batch)
            await driver.deliver([*entries(11, 5), alert(16, "low", "cleared")])

    with RedisServer(tmp_path) as server, server.client() as client:
        asyncio.run(main(server))
        assert client.keys() == []
        client.select(3)
        assert sorted(client.keys()) == [f"{STREAM}:alert:high/co2", f"{STREAM}:alert:low", f"{STREAM}:co2"]
        assert json.loads(client.get(f"{STREAM}:co2"))["key"] == "box7-15"
        assert json.loads(client.get(f"{STREAM}:alert:low"))["state"] == "cleared"
        assert 0 < client.pttl(f"{STREAM}:co2") <= 600_000
        assert 0 < client.pttl(f"{STREAM}:alert:low") <= 600_000
        assert client.pttl(f"{STREAM}:alert:high/co2") == -1


@pytest.mark.parametrize("options", [{"password": "hunter2"}, {"login": ":hunter2@"}, {"login": "default:hunter2@"}])
def test_a_password(tmp_path, options):
    async def main(server):
        url = url_of(server, options.get("login", ""))
        async with driving(url, password=options.get("password")) as driver:
            await driver.deliver(entries(1, 3))

    with RedisServer(tmp_path, password="hunter2") as server:
        asyncio.run(main(server))
        assert received(server) == [1, 2, 3]


def test_a_login_that_is_refused_gives_nothing_away(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with RedisServer(tmp_path, password="hunter2") as server:
        for login in ("", ":swordfish@", "me:swordfish@"):
            reason, status = undelivered(url_of(server, login))
            assert f"the Redis server {HOST}:{server.port} refused the login" in reason
            assert "Check username and password" in reason
            assert "swordfish" not in f"{reason} {status} {caplog.text}"
        assert received(server) == []


def test_a_user_who_may_not_write_may_later(tmp_path):
    async def main(server, client):
        async with driving(url_of(server, "guest:swordfish@")) as driver:
            with pytest.raises(Undelivered, match=r"does not permit it: .*xadd.*ACL") as caught:
                await driver.deliver(entries(1, 3))
            assert "swordfish" not in caught.value.reason
            client.acl_setuser("guest", enabled=True, commands=["+xadd", "+xtrim"])
            await driver.deliver(entries(1, 3))

    with RedisServer(tmp_path, "user guest on >swordfish ~* +multi +exec") as server, server.client() as client:
        asyncio.run(main(server, client))
        assert received(server) == [1, 2, 3]


def test_tls_is_verified(tmp_path):
    authority, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other", "Somebody else")
    certificate, key = authority.issue("box")

    async def main(url, **tls):
        async with driving(url, tls=tls) as driver:
            await driver.deliver(entries(1, 3))

    with RedisServer(tmp_path, password="hunter2", authority=authority) as server:
        url = url_of(server, ":hunter2@", "rediss")
        asyncio.run(main(url, ca=authority.file))
        asyncio.run(main(url, ca=authority.file, server_name="localhost", certificate=certificate, key=key))
        assert received(server) == [1, 2, 3] * 2
        for tls in ({"ca": other.file}, {}, {"ca": authority.file, "server_name": "elsewhere"}):
            reason, _ = undelivered(url, tls=tls)
            assert f"certificate of the Redis server {HOST}:{server.port} is " in reason
            assert "hunter2" not in reason
        reason, _ = undelivered(url_of(server))
        assert f"the Redis server {HOST}:{server.port} failed" in reason
        assert received(server) == [1, 2, 3] * 2


def test_a_server_that_wants_our_certificate(tmp_path):
    authority = Authority(tmp_path / "ours")
    with RedisServer(tmp_path, authority=authority) as server:
        with server.client() as client:
            client.config_set("tls-auth-clients", "yes")
        reason, _ = undelivered(url_of(server, scheme="rediss"), tls={"ca": authority.file})
        assert f"the Redis server {HOST}:{server.port}" in reason
        assert "tls.certificate" in reason


def test_tls_with_a_server_that_has_none(tmp_path):
    with RedisServer(tmp_path) as server:
        reason, _ = undelivered(url_of(server, scheme="rediss"), timeout_ms=1000)
        assert f"the Redis server {HOST}:{server.port}" in reason


def test_killed_in_the_middle_of_batches_all_or_nothing(tmp_path):
    size = 2000

    async def deliver(driver, server, first, kill_after_s):
        """One batch; the server is killed on the way, started again, and offered the batch until it has it."""
        task = asyncio.create_task(driver.deliver(entries(first, size)))
        await asyncio.sleep(kill_after_s)
        server.kill()
        await asyncio.wait([task])
        server.start()
        taken = len(received(server))
        assert taken % size == 0
        if task.exception() is None:
            assert taken >= first - 1 + size
        else:
            assert isinstance(task.exception(), Undelivered)
            await driver.deliver(entries(first, size))

    async def main(server, kill_after_s):
        async with driving(url_of(server), timeout_ms=PATIENT_MS) as driver:
            await driver.deliver(entries(1, size))
            await deliver(driver, server, 1 + size, kill_after_s)

    for number, kill_after_s in enumerate((0.0, 0.02, 0.05, 0.08)):
        (tmp_path / str(number)).mkdir()  # a log that was torn once is not torn again: Redis does not mend that
        with RedisServer(tmp_path / str(number)) as server:
            asyncio.run(main(server, kill_after_s))
            assert without_repeats(received(server)) == list(range(1, 2 * size + 1))


def test_killed_with_the_batch_on_its_way(tmp_path):
    async def main(server):
        async with driving(url_of(server), timeout_ms=PATIENT_MS) as driver:
            await driver.deliver(entries(1, 10))
            server.hold()
            task = asyncio.create_task(driver.deliver(entries(11, LARGE)))
            await asyncio.sleep(0.2)
            server.kill()
            with pytest.raises(Undelivered, match=r"the connection to the Redis server .* failed"):
                await task
            with pytest.raises(Undelivered, match="no Redis server listens"):
                await driver.deliver(entries(11, LARGE))
            server.start()
            assert received(server) == list(range(1, 11))
            await driver.deliver(entries(11, LARGE))
            assert driver.status()["connected"] is True

    with RedisServer(tmp_path) as server:
        asyncio.run(main(server))
        assert received(server) == list(range(1, 11 + LARGE))


def test_a_server_that_hangs_holds_up_nobody_else(tmp_path):
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    async def main(server):
        async with driving(url_of(server), timeout_ms=1000) as driver:
            await driver.deliver(entries(1, 10))
            server.hold()
            ticker = asyncio.create_task(tick())
            for count in (10, LARGE):
                before = ticks
                with pytest.raises(Undelivered, match="does not answer in time"):
                    await driver.deliver(entries(11, count))
                assert ticks - before >= 20
            server.resume()
            await driver.deliver(entries(11, LARGE))
            ticker.cancel()

    with RedisServer(tmp_path) as server:
        asyncio.run(main(server))
        assert without_repeats(received(server)) == list(range(1, 11 + LARGE))


def test_cancelled_at_any_moment(tmp_path):
    async def main(server):
        async with driving(url_of(server), timeout_ms=PATIENT_MS) as driver:
            for number in range(60):
                task = asyncio.create_task(driver.deliver(entries(1 + number * 100, 100)))
                for _ in range(number):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
                await driver.deliver(entries(1 + number * 100, 100))

    with RedisServer(tmp_path) as server:
        asyncio.run(main(server))
        assert without_repeats(received(server)) == list(range(1, 6001))


def test_out_of_memory_heals(tmp_path):
    async def main(server, client):
        async with driving(url_of(server)) as driver:
            with pytest.raises(Undelivered, match=r"is out of memory.*Raise its maxmemory"):
                await driver.deliver(entries(1, 10))
            client.config_set("maxmemory", "0")
            await driver.deliver(entries(1, 10))

    with RedisServer(tmp_path, "maxmemory 100kb", "maxmemory-policy noeviction") as server, server.client() as client:
        asyncio.run(main(server, client))
        assert received(server) == list(range(1, 11))


def test_a_key_of_another_type_is_refused_and_the_next_batch_is_not(tmp_path):
    async def main(server, client):
        client.set(STREAM, "somebody's own")
        async with driving(url_of(server)) as driver:
            with pytest.raises(Refused, match=r"holds something else there: WRONGTYPE"):
                await driver.deliver(entries(1, 10))
            client.delete(STREAM)
            await driver.deliver(entries(11, 10))

    with RedisServer(tmp_path) as server, server.client() as client:
        asyncio.run(main(server, client))
        assert received(server) == list(range(11, 21))


def test_a_connection_that_the_server_closed_while_idle(tmp_path):
    async def main(server, client):
        async with driving(url_of(server)) as driver:
            await driver.deliver(entries(1, 10))
            client.client_kill_filter(_type="normal", skipme=True)
            await until(lambda: not driver.status()["connected"], "the end of the connection")
            await driver.deliver(entries(11, 10))

    with RedisServer(tmp_path) as server, server.client() as client:
        asyncio.run(main(server, client))
        assert received(server) == list(range(1, 21))
