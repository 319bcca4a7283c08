"""What a script says, and what of it goes on."""

from __future__ import annotations

import pytest

from gateway.inbox import CommandInbox
from gateway.scripts.messages import Log, Notify, Output
from gateway.scripts.rates import LOGS, NOTIFICATIONS, OUTPUTS
from gateway.scripts.told import KEPT, Told, command
from gateway.scripts.work import Work
from gateway.types import TELL, Command
from tests.support.clock import FakeClock

WORK = Work("mail", "mail.py", "module", outputs=("relay/fan", "led/status"))


def told(inbox: CommandInbox | None = None) -> tuple[Told, FakeClock]:
    clock = FakeClock()
    return Told(WORK, clock, inbox or CommandInbox(), {"sesame"}), clock


def test_lines_are_bounded_and_what_is_dropped_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    found, clock = told()
    for n in range(LOGS.burst + 50):
        found.take(Log("warning", f"line {n}"))
    assert len(found.as_object()["log"]) == KEPT
    assert found.as_object()["suppressed"] == {"log": 50}
    clock.advance(1.0)
    found.suppressed(7)
    found.take(Log("info", "again"))
    assert "57 lines suppressed" in caplog.text
    assert found.as_object()["log"][-1]["text"] == "again"


def test_secrets_are_masked() -> None:
    inbox = CommandInbox()
    found, _ = told(inbox)
    found.take(Log("info", "it is sesame"))
    found.take(Notify("sesame", "info"))
    assert "sesame" not in str(found.as_object()) + str(inbox.drain())


def test_notifications_and_outputs_become_commands_of_the_script() -> None:
    inbox = CommandInbox()
    found, _ = told(inbox)
    found.take(Notify("too much", "critical"))
    found.take(Output("relay/fan", True))
    found.take(Output("relay/valve", True))
    args = {"message": "too much", "severity": "critical"}
    assert inbox.drain() == (
        Command(TELL, "notify", args, "script:mail"),
        Command("relay/fan", "on", origin="script:mail"),
    )
    assert found.as_object()["refused"] == 1
    assert "list it under `outputs`" in found.as_object()["log"][0]["text"]


def test_rates_bound_what_goes_on() -> None:
    inbox = CommandInbox()
    found, _ = told(inbox)
    for _ in range(100):
        found.take(Notify("again", "info"))
        found.take(Output("relay/fan", False))
    sent = [each.target for each in inbox.drain()]
    assert sent.count(TELL) == 2 * NOTIFICATIONS.burst
    assert sent.count("relay/fan") == 2 * OUTPUTS.burst


def test_a_full_inbox_is_told_and_counted() -> None:
    inbox = CommandInbox()
    for _ in range(256):
        inbox.put(Command("relay/fan", "on"))
    found, _ = told(inbox)
    found.take(Output("relay/fan", True))
    assert found.as_object()["outputs"] == 0
    assert found.as_object()["refused"] == 1


@pytest.mark.parametrize(
    ("value", "verb", "args"),
    [(True, "on", {}), (False, "off", {}), ("red", "red", {}), (0.5, "set", {"value": 0.5})],
)
def test_values_of_outputs(value: bool | float | str, verb: str, args: dict[str, float]) -> None:
    made = command("led/status", value, "script:x")
    assert (made.verb, dict(made.args)) == (verb, args)
