"""docs/writing-actions.md: its scripts run with their nodes, and its messages and limits are the real ones."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.clock import RealClock
from gateway.scripts import api, guard, messages, policy, rates, wire
from gateway.scripts.broker import Broker
from gateway.scripts.confine.confine import Plan
from tests.servers.authority import Authority
from tests.servers.smtp import MailServer
from tests.support.scripts import ROOT, Node, node_of, running

PAGE = (ROOT / "docs" / "writing-actions.md").read_text()
PAIRS = re.findall(r"```yaml\n(.*?)```\s+```python\n(.*?)```", PAGE, re.DOTALL)
NODES = {re.findall(r"id: (\w+)", text)[0]: (text, script.encode()) for text, script in PAIRS}


def shown(name: str, **places: str) -> Node:
    """A node of the page with its script, and words replaced in the node."""
    text, script = NODES[name]
    for word, place in places.items():
        assert word in text
        text = text.replace(word, place)
    return node_of(text, script)


def test_every_script_of_the_page_has_its_node() -> None:
    assert PAGE.count("```python\n") == PAGE.count("```yaml\n") == len(PAIRS) == len(NODES)


@pytest.mark.parametrize("name", NODES)
def test_the_static_check_finds_nothing(name: str) -> None:
    assert shown(name).check() == ()


def test_the_first_script_sends_its_mail(level: str, tmp_path: Path) -> None:
    with MailServer(Authority(tmp_path)) as server:
        node = shown("co2_mail", **{"smtp.example.org": server.host, "587": str(server.port),
                                    "${EMAIL_PASSWORD}": server.password})  # fmt: skip
        with running(node.configure(ca_file=str(server.ca)), level) as script:
            assert script.alerted(1234.5).value is True
        (mail,) = server.mails
    assert mail.message["Subject"] == "co2_concentration is 1234 ppm"
    assert mail.message.get_content() == "More than 1000 ppm.\n"


def test_only_when_it_is_certain(level: str) -> None:
    with running(shown("certain"), level) as script:
        for ppm in (1000.9, 1001.1, 1001.2, 999.5, 1001.2, 998.9, 1002.0, None):
            assert script.measured(ppm, 0.5).fault == ""
    assert script.notifications == [("warning", "1001 ± 0.5 ppm"), ("warning", "1002 ± 0.5 ppm")]


def test_a_fan_that_runs_on(level: str) -> None:
    with running(shown("fan"), level) as script:
        script.alerted(1100)
        script.alerted(900, "cleared")
        assert script.measured(900, after_s=599).fault == ""
        assert script.outputs == [("relay/fan", True)]
        script.measured(900, after_s=1)
        script.measured(900)
    assert script.outputs == [("relay/fan", True), ("relay/fan", False)]


def test_what_survives_a_restart(tmp_path: Path) -> None:
    for start in range(2):
        with running(shown("hours", **{"/var/lib/spectrophone/hours": str(tmp_path)})) as script:
            script.now_s += 660 * start
            for _ in range(10):
                assert script.measured(900, after_s=60).fault == ""
            script.measured(None, after_s=60)
            status = script.call("get_status").value
    assert status == {"hours_above": pytest.approx(19 / 60)}


def test_working_hours_only(level: str) -> None:
    with running(shown("quiet"), level) as script:
        assert script.alerted(1100).fault == ""
        script.now_s += 8 * 3600
        script.alerted(1100)
    assert script.notifications == [("warning", "co2_concentration is 1100 ppm, above 1000 ppm")]


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table that begins with this heading."""
    table = PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize(("line", "message"), rows("in the script"), ids=lambda cell: cell[:20])
def test_the_check_says_what_the_page_says(line: str, message: str) -> None:
    line = line.strip("`")
    source = line if line.startswith("def ") else f"{line}\n\ndef on_measurement(measurement):\n    pass\n"
    assert message in [str(finding) for finding in policy.check(source.encode(), "s.py", [], "module")]


def test_permissions_are_worded_as_on_the_page() -> None:
    worded = {row[0]: row[2] for row in rows("to")}
    (missing,) = policy.check(b"def on_measurement(m):\n    pass\nimport json\n", "s.py", [], "module")
    assert str(missing) == worded["import a module"]
    assert asyncio.run(denied(messages.Connect(1, "smtp.example.org", 587, 5.0))) == worded["reach a server"]
    walls = guard.Guard("/s.py", Plan("B", ()), [])
    assert refused(lambda: walls._judge("/etc/ssl/own.pem", False)) == worded["read a file"]
    assert refused(lambda: walls._judge("/var/lib/spectrophone/log/a.csv", True)) == worded["write into a directory"]
    assert api.GatewayAPI({}, outputs=[]).set_output("relay/fan", True) is False


async def denied(request: messages.Connect) -> str:
    """What the broker of co2_mail says when nothing is listed."""
    ours, script = socket.socketpair()
    with ours, script:
        broker = Broker(ours, "co2_mail", (), (), RealClock(), print)
        script.setblocking(False)
        script.send(wire.frame(request))
        receiver = wire.Receiver(messages.FromBroker, messages.BROKER_LIMIT)
        while not (answers := receiver.feed(await asyncio.get_running_loop().sock_recv(script, 4096))):
            pass
        await broker.close()
    return answers[0].message


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(guard.ActionPermissionError) as refusal:
        act()
    return str(refusal.value)


def test_the_limits_are_those_of_the_code() -> None:
    limits = {row[0]: row[1] for row in rows("limit")}
    assert limits["log lines, prints included"] == (
        f"{rates.LOGS.per_s:g} a second, {rates.LOGS.burst} at once, {messages.LONGEST_TEXT} characters each"
    )
    assert (
        limits["notifications"] == f"{rates.NOTIFICATIONS.per_s * 60:g} a minute, {rates.NOTIFICATIONS.burst} at once"
    )
    assert limits["outputs"] == f"{rates.OUTPUTS.per_s:g} a second, {rates.OUTPUTS.burst} at once"
    assert limits["what a hook returns"] == f"{messages.LONGEST_VALUE >> 10} KiB, nested {wire.DEEPEST} deep"
    assert limits["the script"] == f"{messages.LONGEST_SOURCE >> 10} KiB, UTF-8"
