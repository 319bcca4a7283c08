"""The scripts of user_scripts/, each with the node of its own docstring, against real servers: what arrives, and what
the customer reads when the server refuses, is away, or is slow."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psycopg
import pytest

from gateway.scripts.api import GatewayAPI, Readings
from tests.servers.authority import Authority
from tests.servers.https import Answer, HttpsServer, Request
from tests.servers.influx import InfluxDB
from tests.servers.postgres import PostgreSQL
from tests.servers.smtp import Fault, MailServer
from tests.support.scripts import ROOT, SHIPPED, Node, Running, pasted, prepared, running

TOKEN = "sesame open"
PLACES = {
    "email_alert": {"${EMAIL_PASSWORD}": MailServer.password},
    "webhook": {"${HOOK_TOKEN}": TOKEN},
    "database_log": {"${DB_PASSWORD}": PostgreSQL.password},
    "erp_ticket": {"${ERP_TOKEN}": TOKEN},
    "multi_channel": {"${SLACK_URL}": "https://a/b", "${TEAMS_URL}": "https://a/b", "${DISCORD_URL}": "https://a/b",
                      "${SMS_TOKEN}": TOKEN},
}  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def mail_server(authority: Authority) -> Iterator[MailServer]:
    with MailServer(authority) as server:
        yield server


@pytest.fixture
def server(authority: Authority) -> Iterator[HttpsServer]:
    with HttpsServer(authority) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("postgres"), authority) as server:
        yield server


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[InfluxDB]:
    with InfluxDB(tmp_path_factory.mktemp("influx"), authority) as server:
        yield server


@pytest.mark.parametrize("script", SHIPPED, ids=lambda script: script.stem)
def test_a_script_is_short_and_the_static_check_finds_nothing(script: Path) -> None:
    assert len(script.read_text().splitlines()) < 80
    assert pasted(script.stem, PLACES.get(script.stem)).check() == ()


def test_there_are_eight() -> None:
    assert [script.stem for script in SHIPPED] == [
        "daily_csv", "database_log", "email_alert", "erp_ticket", "led_control", "multi_channel", "predictive",
        "webhook",
    ]  # fmt: skip


# email_alert


def mail_node(server: MailServer, password: str = MailServer.password) -> Node:
    places = {"smtp.example.org:587": f"{server.host}:{server.port}", "smtp.example.org": server.host,
              "${EMAIL_PASSWORD}": password}  # fmt: skip
    return pasted("email_alert", places).configure(smtp_port=server.port, ca_file=str(server.ca), timeout_s=20)


def test_a_mail_tells_value_uncertainty_threshold_and_time(level: str, mail_server: MailServer) -> None:
    with running(mail_node(mail_server), level) as script:
        script.measured(1234.5, 2.1)
        assert script.alerted(1234.5).value is True
    (mail,) = mail_server.mails
    assert mail.recipients == ("lab@example.org",)
    assert mail.message["Subject"] == "[warning] co2_concentration: 1234.5 ± 2.1 ppm"
    assert mail.message["Date"].datetime.timestamp() == int(script.now_s)
    assert mail.message.get_content() == (
        "co2_concentration: 1234.5 ± 2.1 ppm\nThreshold: 1000 ppm\nTime: Mon, 21 Sep 2026 14:13:21 +0000\n"
    )


def test_a_second_mail_waits_for_the_cool_down_unless_it_got_worse(level: str, mail_server: MailServer) -> None:
    with running(mail_node(mail_server), level) as script:
        script.measured(1234.5)
        said = [script.alerted(1234.5).value, script.alerted(1240).value]
        said.append(script.alerted(1300, severity="critical").value)
        script.measured(1200, after_s=901)
        said.append(script.alerted(1200).value)
        said.append(script.alerted(1200, severity="info").value)
    assert said == [True, False, True, True, False]
    assert [len(mail.recipients) for mail in mail_server.mails] == [1, 2, 1]


def test_an_alert_without_a_value_is_mailed_too(level: str, mail_server: MailServer) -> None:
    with running(mail_node(mail_server), level) as script:
        script.alerted(None, type="data_timeout", threshold=60.0)
    assert mail_server.mails[0].message["Subject"] == "[warning] co2_concentration: no value"


def test_a_value_without_an_uncertainty_is_mailed_as_it_is(level: str, mail_server: MailServer) -> None:
    with running(mail_node(mail_server), level) as script:
        script.measured(None, None)
        script.alerted(1234.5)
    assert mail_server.mails[0].message["Subject"] == "[warning] co2_concentration: 1234.5 ppm"


def test_a_mail_server_that_is_away_is_told_with_its_name_and_gets_the_mail_later(
    level: str, mail_server: MailServer
) -> None:
    with running(mail_node(mail_server), level) as script:
        mail_server.stop()
        outcome = script.alerted(1234.5)
        assert re.search(
            rf"ConnectionError: 1 mail\(s\) wait, 127.0.0.1:{mail_server.port} says: .*refused", outcome.fault
        )
        assert "raise ConnectionError" in outcome.line
        mail_server.start()
        assert script.measured(1234.5).fault == ""
        assert mail_server.mails == []
        script.measured(1234.5, after_s=60)
        script.measured(1234.5, after_s=60)
    assert len(mail_server.mails) == 1


def test_a_mail_is_given_up_after_an_hour(level: str, mail_server: MailServer) -> None:
    mail_server.faults["END"] = Fault("554 5.7.1 We do not want this")
    with running(mail_node(mail_server), level) as script:
        assert "5.7.1 We do not want this" in script.alerted(1234.5).fault
        assert "1 mail(s) wait" in script.measured(1234.5, after_s=3000).fault
        assert script.measured(1234.5, after_s=600).fault == ""


def test_a_wrong_mail_password_is_told_and_not_shown(level: str, mail_server: MailServer) -> None:
    with running(mail_node(mail_server, "wrong horse"), level) as script:
        fault = script.alerted(1234.5).fault
    assert "5.7.8" in fault
    assert "wrong horse" not in fault


def test_a_slow_mail_server_costs_the_timeout(level: str, mail_server: MailServer) -> None:
    mail_server.faults["AUTH"] = Fault(pause_s=60)
    with running(mail_node(mail_server).configure(timeout_s=0.5), level) as script:
        assert "timed out" in script.alerted(1234.5).fault


def test_a_mail_server_of_another_authority_is_not_trusted(level: str, mail_server: MailServer, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger", "Somebody else")
    with running(mail_node(mail_server).configure(ca_file=str(stranger.file)), level) as script:
        assert "certificate verify failed" in script.alerted(1234.5).fault


# webhook


def hook_node(server: HttpsServer, authority: Authority, pager: HttpsServer | None = None) -> Node:
    pager = pager or server
    places = {"hooks.example.org:443": f"localhost:{server.port}", "https://hooks.example.org": server.url,
              "pager.example.org:443": f"localhost:{pager.port}", "https://pager.example.org": pager.url,
              "${HOOK_TOKEN}": TOKEN}  # fmt: skip
    return pasted("webhook", places).configure(ca_file=str(authority.file))


def test_a_webhook_gets_the_filled_template_and_an_idempotency_key(
    level: str, server: HttpsServer, authority: Authority
) -> None:
    with running(hook_node(server, authority), level) as script:
        assert script.alerted(1234.5).fault == ""
        assert script.alerted(900, "cleared").fault == ""
    raised, cleared = server.requests
    assert (raised.method, raised.path) == ("POST", "/co2")
    assert raised.json == {
        "title": "warning: co2_concentration", "text": "co2_concentration is 1234.5 ppm, above 1000 ppm",
        "state": "raised",
    }  # fmt: skip
    assert cleared.json["state"] == "cleared"
    assert raised.headers["Authorization"] == f"Bearer {TOKEN}"
    assert [request.headers["Idempotency-Key"] for request in server.requests] == ["lab-42-1", "lab-42-2"]


def test_the_third_alert_of_an_hour_goes_to_the_escalation_too(
    level: str, server: HttpsServer, authority: Authority
) -> None:
    with HttpsServer(authority) as pager, running(hook_node(server, authority, pager), level) as script:
        for after_s in (0, 3000, 599, 3700, 500):
            script.now_s += after_s
            script.alerted(1234.5)
            script.alerted(900, "cleared")
        assert len(server.requests) == 10
        assert [(request.path, request.headers["Idempotency-Key"]) for request in pager.requests] == [
            ("/page", "lab-42-5")
        ]


def test_a_webhook_is_tried_again_with_the_same_key(level: str, server: HttpsServer, authority: Authority) -> None:
    server.answers += [Answer(503), Answer(429)]
    with running(hook_node(server, authority), level) as script:
        assert script.alerted(1234.5).fault == ""
    assert [request.headers["Idempotency-Key"] for request in server.requests] == ["lab-42-1"] * 3


def test_what_a_webhook_refuses_is_not_tried_again(level: str, server: HttpsServer, authority: Authority) -> None:
    server.answer = Answer(403, body=b"who are you?")
    with running(hook_node(server, authority), level) as script:
        fault = script.alerted(1234.5).fault
    assert fault.endswith(f"ConnectionError: localhost:{server.port} answers 403 Forbidden")
    assert len(server.requests) == 1


def test_a_webhook_that_is_away_or_slow_costs_no_more_than_its_time(
    level: str, server: HttpsServer, authority: Authority
) -> None:
    node = hook_node(server, authority)
    node.options["timeout_ms"] = 1500
    with running(node, level) as script:
        with server.hold():
            assert re.search(rf"localhost:{server.port} cannot be reached: .*timed out", script.alerted(1234.5).fault)
        server.stop()
        assert "Connection refused" in script.alerted(1234.5).fault


# database_log


def database_node(store: str, directory: Path, ca: Path, sql: int = 1, influx: int = 2, password: str = "-") -> Node:
    places = {"db.example.org:5432": f"127.0.0.1:{sql}", "db.example.org, port: 5432": f"127.0.0.1, port: {sql}",
              "influx.example.org": "127.0.0.1", "8086": str(influx), "database: lab": "database: measurements",
              "db=lab": "db=measurements", "user: box": "user: spectrophone", "${DB_PASSWORD}": password,
              "/var/lib/spectrophone/log": str(directory), "store: postgresql": f"store: {store}"}  # fmt: skip
    node = pasted("database_log", places).configure(ca_file=str(ca))
    for section in ("postgresql", "sqlite", "influxdb"):
        node.options["python_config"][section]["timeout"] = 20
    return node


def sql_node(postgres: PostgreSQL, directory: Path, password: str = PostgreSQL.password) -> Node:
    return database_node("postgresql", directory, postgres.ca, sql=postgres.port, password=password)


def ppm_rows(postgres: PostgreSQL) -> list[object]:
    return [row[0] for row in postgres.query("SELECT ppm FROM measurements ORDER BY time")]


@pytest.fixture
def empty(postgres: PostgreSQL) -> PostgreSQL:
    postgres.query("DROP TABLE IF EXISTS measurements")
    return postgres


def test_postgresql_gets_every_measurement_in_batches(level: str, empty: PostgreSQL, tmp_path: Path) -> None:
    with running(sql_node(empty, tmp_path), level) as script:
        said = [script.measured(400.0 + n).fault for n in range(12)] + [script.measured(None).fault]
        assert said == [""] * 13
        assert ppm_rows(empty) == [400.0 + n for n in range(11)]
    assert ppm_rows(empty) == [400.0 + n for n in range(12)] + [None]
    (row,) = empty.query("SELECT key, box, node, sigma_ppm, valid, extract(epoch from time) FROM measurements LIMIT 1")
    assert row == ("lab-42-1", "lab-42", "co2_concentration", 0.5, True, 1_790_000_001)


def test_a_row_that_comes_twice_is_there_once(level: str, empty: PostgreSQL, tmp_path: Path) -> None:
    for _ in range(2):
        with running(sql_node(empty, tmp_path), level) as script:
            script.measured(400.0)
    assert ppm_rows(empty) == [400.0]


def test_rows_wait_while_postgresql_is_away(level: str, empty: PostgreSQL, tmp_path: Path) -> None:
    with running(sql_node(empty, tmp_path), level) as script:
        empty.stop()
        try:
            fault = script.measured(400.0).fault
            quiet = script.measured(401.0).fault
        finally:
            empty.start()
        assert re.search(rf"ConnectionError: 1 row\(s\) wait for postgresql: .*127.0.0.1 and port {empty.port}", fault)
        assert quiet == ""
        assert script.measured(402.0, after_s=10).fault == ""
    assert ppm_rows(empty) == [400.0, 401.0, 402.0]


def test_a_login_that_postgresql_refuses_is_told_in_its_words(level: str, empty: PostgreSQL, tmp_path: Path) -> None:
    with running(sql_node(empty, tmp_path, "wrong horse"), level) as script:
        fault = script.measured(400.0).fault
    assert fault.endswith('1 row(s) wait for postgresql: password authentication failed for user "spectrophone"')


def test_a_slow_postgresql_costs_the_timeout(level: str, empty: PostgreSQL, tmp_path: Path) -> None:
    node = sql_node(empty, tmp_path)
    with running(node, level) as script:
        script.measured(400.0)
    node.options["python_config"]["postgresql"]["timeout"] = 0.5
    with running(node, level) as script, psycopg.connect(empty.dsn) as other:
        other.execute("LOCK TABLE measurements")
        assert "1 row(s) wait for postgresql" in script.measured(401.0).fault
        other.rollback()


def test_sqlite_gets_rows_and_a_lock_of_another_program_is_told(
    level_with_files: str, authority: Authority, tmp_path: Path
) -> None:
    node = database_node("sqlite", tmp_path, authority.file)
    node.options["python_config"]["sqlite"]["timeout"] = 0.2
    with running(node, level_with_files) as script:
        assert script.measured(400.0).fault == ""
        with closing(sqlite3.connect(tmp_path / "measurements.db")) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert "1 row(s) wait for sqlite: database is locked" in script.measured(401.0, after_s=10).fault
            other.rollback()
            script.measured(None, after_s=10)
            rows = other.execute("SELECT ppm, valid FROM measurements").fetchall()
    assert rows == [(400.0, 1), (401.0, 1), (None, 0)]


def test_sqlite_at_level_c_says_what_to_do(authority: Authority, tmp_path: Path) -> None:
    with running(database_node("sqlite", tmp_path, authority.file), "C") as script:
        assert script.measured(400.0).fault.endswith(
            "1 row(s) wait for sqlite: isolation level C, all that this machine has, gives SQLite no files: "
            "keep the database on a server, or write the rows with open()"
        )


def influx_node(influx: InfluxDB, directory: Path, password: str = InfluxDB.password) -> Node:
    return database_node("influxdb", directory, influx.ca, influx=influx.port, password=password)


def test_influxdb_gets_points_with_their_times(level: str, influx: InfluxDB, tmp_path: Path) -> None:
    with running(influx_node(influx, tmp_path), level) as script:
        assert script.measured(400.25).fault == ""
        assert script.measured(None, after_s=10).fault == ""
    assert influx.query("SELECT * FROM concentration") == [
        {"time": 1_790_000_001_000_000_000, "box": "lab-42", "node": "co2_concentration", "ppm": 400.25,
         "sigma_ppm": 0.5, "valid": True},
        {"time": 1_790_000_011_000_000_000, "box": "lab-42", "node": "co2_concentration", "ppm": None,
         "sigma_ppm": None, "valid": False},
    ]  # fmt: skip


def test_influxdb_refusing_and_away(level: str, influx: InfluxDB, tmp_path: Path) -> None:
    with running(influx_node(influx, tmp_path, "wrong horse"), level) as script:
        assert "wait for influxdb: HTTP Error 401: Unauthorized" in script.measured(400.0).fault
    with running(influx_node(influx, tmp_path), level) as script:
        influx.stop()
        try:
            assert "Connection refused" in script.measured(400.0).fault
        finally:
            influx.start()


def test_a_slow_influxdb_costs_the_timeout(
    level: str, server: HttpsServer, authority: Authority, tmp_path: Path
) -> None:
    node = database_node("influxdb", tmp_path, authority.file, influx=server.port)
    node.options["python_config"]["influxdb"]["timeout"] = 0.3
    with running(node, level) as script, server.hold():
        assert "timed out" in script.measured(400.0).fault


# led_control


def test_led_and_fan_follow_the_level_with_hysteresis(level: str) -> None:
    with running(pasted("led_control"), level) as script:
        shown = []
        for ppm in (500, 801, 760, 749, 1300, 1160, 1149, None, 700):
            script.measured(ppm)
            shown.append(dict(script.outputs))
    assert [(state["led/status"], state["relay/fan"]) for state in shown] == [
        ("green", False), ("yellow", False), ("yellow", False), ("green", False), ("red", True), ("red", True),
        ("yellow", False), ("blue", False), ("green", False),
    ]  # fmt: skip
    assert len(script.outputs) == 2 + 1 + 1 + 2 + 2 + 1 + 1


def test_an_output_that_is_one_too_many_is_set_with_a_later_update(level: str) -> None:
    node = pasted("led_control")
    colours = {300.0: ("green", False), 1300.0: ("red", True)}
    with running(node, level) as script:
        for ppm in (1300.0, 300.0) * 100:  # more than ten at once
            script.measured(ppm)
            shown = script.call("get_status").value["outputs"]
            if (shown["led/status"], shown["relay/fan"]) != colours[ppm]:
                break
        else:
            raise AssertionError("everything was taken")
        for _ in range(3000):  # until there is room again, in a fifth of a second
            if shown == {"led/status": colours[ppm][0], "relay/fan": colours[ppm][1]}:
                return
            script.measured(ppm)
            shown = script.call("get_status").value["outputs"]
        raise AssertionError(shown)


# predictive


def drift(script: Running, ppm_per_s: float, sigma_ppm: float, seconds: int, first_ppm: float, seed: int = 1) -> None:
    noise = np.random.default_rng(seed).normal(0, sigma_ppm, seconds)
    for second in range(seconds):
        assert script.measured(first_ppm + ppm_per_s * second + float(noise[second]), sigma_ppm).fault == ""


def test_a_rise_is_told_once_with_the_time_that_is_left(level: str) -> None:
    with running(pasted("predictive"), level) as script:
        drift(script, 0.5, 1.0, 300, 500.0)
        forecast = script.call("get_status").value["forecast"]
    ((severity, text),) = script.notifications
    assert severity == "warning"
    assert re.fullmatch(
        r"co2_concentration: 1000 ppm in 14\.\d ± \d\.\d min \(now 5[56]\d.* ppm, rising by .* ppm/min\)", text
    )
    assert abs(forecast["seconds"] - (1000 - 649.5) / 0.5) < 4 * forecast["sigma_seconds"]
    assert forecast["sigma_seconds"] == pytest.approx(slope_line_sigma(300, 0.5, 1.0, 649.5, 1000.0), rel=0.2)


def slope_line_sigma(count: int, slope: float, sigma: float, now: float, threshold: float) -> float:
    """Propagated from the textbook line fit: var(slope) = sigma^2 / S, and the crossing at distance d beyond the mean
    time has var = sigma^2 (1/n + d^2 / S) / slope^2, S = n (n^2 - 1) / 12."""
    spread = count * (count**2 - 1) / 12
    distance = (count - 1) / 2 + (threshold - now) / slope
    return sigma / slope * float(np.sqrt(1 / count + distance**2 / spread))


def test_noise_without_a_trend_is_not_told(level: str) -> None:
    with running(pasted("predictive"), level) as script:
        drift(script, 0.0, 1.0, 200, 990.0)
        assert script.call("get_status").value == {"forecast": {}}
    assert script.notifications == []


def test_a_notification_that_is_not_taken_comes_again() -> None:
    said, known = [], runpy.run_path(str(ROOT / "user_scripts/predictive.py"))
    entries = [
        {"source_node_id": "co2", "timestamp": n, "concentration_ppm": 500.0 + n, "uncertainty_ppm": 0.5, "valid": True}
        for n in range(200)
    ]

    def tell(what: str, how: str, message: object) -> bool:
        said.append(what)
        return len(said) > 2

    script = known["Predictive"](GatewayAPI(monitored=["co2"], readings=Readings(200, entries), tell=tell))
    for _ in range(5):
        script.on_update({})
    assert said == ["notification"] * 3


# multi_channel


def chat_node(server: HttpsServer, authority: Authority) -> Node:
    place = f"localhost:{server.port}"
    places = {"hooks.slack.com:443": place, "example.webhook.office.com:443": place, "discord.com:443": place,
              "sms.example.org:443": place, "${SLACK_URL}": f"{server.url}/secret-slack",
              "${TEAMS_URL}": f"{server.url}/secret-teams", "${DISCORD_URL}": f"{server.url}/secret-discord",
              "https://sms.example.org": server.url, "${SMS_TOKEN}": TOKEN}  # fmt: skip
    return pasted("multi_channel", places).configure(ca_file=str(authority.file), timeout_s=20)


def test_each_severity_reaches_its_channels_in_their_own_form(
    level: str, server: HttpsServer, authority: Authority
) -> None:
    server.answer = Answer(204)
    with running(chat_node(server, authority), level) as script:
        script.alerted(1234.5, severity="critical")
    text = "critical: co2_concentration 1234.5 (threshold 1000)"
    slack, teams, discord, sms = server.requests
    assert slack.json == {"text": text}
    (card,) = teams.json["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["content"]["body"] == [{"type": "TextBlock", "text": text, "wrap": True}]
    assert discord.json == {"content": text}
    assert sms.json == {"to": ["+43 660 0000000"], "text": text}
    assert (sms.headers["X-Token"], slack.headers["X-Token"]) == (TOKEN, None)


def test_what_lasts_goes_up_one_severity_and_what_is_over_does_not(
    level: str, server: HttpsServer, authority: Authority
) -> None:
    with running(chat_node(server, authority), level) as script:
        script.alerted(1234.5)
        script.measured(1240, after_s=1799)
        assert len(server.requests) == 2
        script.measured(1250, after_s=2)
        assert [request.json.get("text") for request in server.requests[2::3]] == [
            "critical: co2_concentration 1250 (threshold 1000)"
        ] * 2
        script.measured(1250, after_s=4000)
        assert len(server.requests) == 6
        script.alerted(1200)
        script.measured(900)
        script.measured(1100, after_s=4000)
        assert len(server.requests) == 8


def test_a_channel_that_refuses_does_not_keep_the_others_from_it(
    level: str, server: HttpsServer, authority: Authority
) -> None:
    def answer(request: Request) -> Answer:
        return Answer(404 if "slack" in request.path else 200)

    server.answer = answer
    with running(chat_node(server, authority), level) as script:
        fault = script.alerted(1234.5).fault
        assert fault.endswith("ConnectionError: not told: slack: HTTP Error 404: Not Found")
        assert len(server.requests) == 2
        server.stop()
        fault = script.alerted(1234.5).fault
    assert fault.count("Connection refused") == 2
    assert "secret" not in fault


def test_slow_channels_cost_their_timeouts(level: str, server: HttpsServer, authority: Authority) -> None:
    with running(chat_node(server, authority).configure(timeout_s=0.3), level) as script, server.hold():
        assert script.alerted(1234.5).fault.count("timed out") == 2


# erp_ticket


class Erp:
    """A ticket system behind the web server."""

    def __init__(self) -> None:
        self.tickets: list[dict[str, object]] = []

    def __call__(self, request: Request) -> Answer:
        if request.headers["Authorization"] != f"Bearer {TOKEN}":
            return Answer(401, body=b"who are you?")
        if request.method == "GET":
            assert request.path.endswith(
                "?reference=lab-42%2Ferp_ticket%2Fconcentration%2Fco2_concentration&status=open"
            )
            found = [ticket for ticket in self.tickets if ticket["status"] == "open"]
            return Answer(body=json.dumps(found).encode())
        if request.method == "POST":
            made = {"id": 700 + len(self.tickets), "key": request.headers["Idempotency-Key"]}
            self.tickets.append(made | request.json)
            return Answer(201)
        ticket = next(ticket for ticket in self.tickets if request.path == f"/api/tickets/{ticket['id']}")
        ticket |= request.json
        return Answer(204)


def erp_node(server: HttpsServer, authority: Authority, token: str = TOKEN) -> Node:
    places = {"erp.example.org:443": f"localhost:{server.port}", "https://erp.example.org": server.url,
              "${ERP_TOKEN}": token}  # fmt: skip
    return pasted("erp_ticket", places).configure(ca_file=str(authority.file), timeout_s=20)


@pytest.fixture
def erp(server: HttpsServer) -> Erp:
    erp = Erp()
    server.answer = erp
    return erp


def test_an_alert_opens_one_ticket_and_its_end_closes_it(
    level: str, server: HttpsServer, authority: Authority, erp: Erp
) -> None:
    with running(erp_node(server, authority), level) as script:
        assert script.alerted(1234.5).fault == ""
        assert script.alerted(1250).fault == ""
        assert [(ticket["status"], ticket.get("comment")) for ticket in erp.tickets] == [
            ("open", "co2_concentration is 1250 ppm, above 1000 ppm")
        ]
    with running(erp_node(server, authority), level) as script:
        assert script.alerted(900, "cleared").fault == ""
    assert erp.tickets == [{
        "id": 700, "key": "lab-42-1", "reference": "lab-42/erp_ticket/concentration/co2_concentration",
        "status": "closed", "title": "[warning] co2_concentration is 1234.5 ppm, above 1000 ppm", "project": "LAB",
        "priority": "high", "comment": "co2_concentration is back below 1000 ppm",
    }]  # fmt: skip


def test_an_erp_that_is_away_gets_all_in_order_later(
    level: str, server: HttpsServer, authority: Authority, erp: Erp
) -> None:
    with running(erp_node(server, authority), level) as script:
        server.stop()
        assert re.search(r"ConnectionError: 1 alert\(s\) wait for the ERP: .*refused", script.alerted(1234.5).fault)
        assert "2 alert(s) wait" in script.alerted(900, "cleared").fault
        server.start()
        script.measured(900)
        assert erp.tickets == []
        script.measured(900, after_s=60)
    assert [ticket["status"] for ticket in erp.tickets] == ["closed"]


def test_what_the_erp_never_takes_keeps_nothing_waiting(
    level: str, server: HttpsServer, authority: Authority, erp: Erp
) -> None:
    with running(erp_node(server, authority), level) as script:
        server.answers.append(Answer(422, body=b"no such project"))
        assert "0 alert(s) wait for the ERP: HTTP Error 422" in script.alerted(1234.5).fault
        assert script.alerted(1250).fault == ""
    assert len(erp.tickets) == 1


def test_a_wrong_token_and_a_slow_erp(level: str, server: HttpsServer, authority: Authority, erp: Erp) -> None:
    with running(erp_node(server, authority, "wrong"), level) as script:
        assert "1 alert(s) wait for the ERP: HTTP Error 401: Unauthorized" in script.alerted(1234.5).fault
    with running(erp_node(server, authority).configure(timeout_s=0.3), level) as script, server.hold():
        assert "timed out" in script.alerted(1234.5).fault
    assert erp.tickets == []


# daily_csv


def csv_node(directory: Path) -> Node:
    return pasted("daily_csv", {"/var/lib/spectrophone/reports": str(directory)})


def test_a_day_becomes_a_report_with_its_name_when_it_is_over(level_with_files: str, tmp_path: Path) -> None:
    with running(csv_node(tmp_path), level_with_files) as script:
        for ppm, sigma, after_s in ((400.0, 0.5, 1), (402.0, 0.7, 1), (None, 9.9, 1), (410.0, 0.5, 600)):
            script.measured(ppm, sigma, after_s=after_s)
        assert [file.name for file in tmp_path.iterdir()] == ["2026-09-21.csv.part"]
        script.measured(420.0, after_s=86_400)
        script.measured(430.0, after_s=600)
        assert sorted(file.name for file in tmp_path.iterdir()) == ["2026-09-21.csv", "2026-09-22.csv.part"]
    with (tmp_path / "2026-09-21.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["from"] for row in rows] == ["2026-09-21T14:10:00+00:00", "2026-09-21T14:20:00+00:00"]
    assert list(rows[0].values())[1:] == ["co2_concentration", "2", "401.000", "0.600", "400.000", "402.000"]


def test_what_was_measured_last_is_written_at_the_end_and_a_new_start_goes_on(level: str, tmp_path: Path) -> None:
    for _ in range(2):
        with running(csv_node(tmp_path), level) as script:
            script.measured(400.0)
    (file,) = tmp_path.iterdir()
    first = [line.split(",")[0] for line in file.read_text().splitlines()]
    assert first == ["from", "2026-09-21T14:10:00+00:00", "2026-09-21T14:10:00+00:00"]


def test_at_level_c_a_report_gets_no_name_and_that_is_told(tmp_path: Path) -> None:
    with running(csv_node(tmp_path), "C") as script:
        script.measured(400.0)
        assert script.measured(410.0, after_s=86_400).fault == ""
        fault = script.measured(420.0, after_s=600).fault
    assert "lets a script open files: it cannot rename or remove any, nor make directories" in fault
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2026-09-21.csv.part", "2026-09-22.csv.part"]


def test_the_oldest_reports_go(level_with_files: str, tmp_path: Path) -> None:
    for day in (1, 2, 3):
        (tmp_path / f"2026-08-0{day}.csv").touch()
    with running(csv_node(tmp_path).configure(keep_days=2), level_with_files) as script:
        script.measured(400.0)
    assert sorted(file.name for file in tmp_path.glob("*.csv")) == ["2026-08-02.csv", "2026-08-03.csv"]


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    (fault,) = prepared(csv_node(tmp_path / "absent"), tmp_path).faults
    assert fault.loc[-1] == "file_access"
    assert f'"{tmp_path}/absent:rw" cannot be given to a script: No such file or directory: create it first' in str(
        fault
    )


def test_a_directory_of_somebody_else_is_told(level_with_files: str, tmp_path: Path) -> None:
    with running(csv_node(tmp_path), level_with_files) as script:
        os.chown(tmp_path, os.geteuid(), -1)
        tmp_path.chmod(0o500)
        script.measured(400.0)
        fault = script.measured(410.0, after_s=600).fault
    assert "PermissionError" in fault
    assert re.search(r"scripts run as user \d+: let that user own the file and its directory", fault)
