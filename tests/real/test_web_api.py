"""The API of a running box over real TLS: who may, what comes back, and what it does to the box."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.real.gateway import eventually
from tests.real.web_box import LITERAL, PASSWORD, REFERRED, SCRIPT, SET, Box, Client, running_box, until, web_box


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with web_box(tmp_path_factory.mktemp("web")) as box:
        yield box


@pytest.fixture(scope="module")
def owner(box: Box) -> Client:
    return box.owner()


def operations(client: Client) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every operation of the box's own document, with some value for each part of its path."""
    for path, item in client.get("/openapi.json")["paths"].items():
        for method, operation in item.items():
            there = re.sub(r"\{id\}", "1", re.sub(r"\{(?!id)\w+\}", "lock", path))
            yield method.upper(), there.removeprefix("/api/v1"), operation


def machine(owner: Client, name: str, scope: str) -> Client:
    """One with a token, which the owner makes."""
    made = owner.tell("POST", "/tokens", {"name": name, "scope": scope})
    return Client(owner.port, owner.tls, token=made["token"])


def test_a_first_password_is_asked_for_and_there_is_none_before(box: Box, owner: Client) -> None:
    again = box.nobody.ask("POST", "/setup", {"password": "another password"})
    assert again.status == 409
    assert box.nobody.ask("POST", "/session", {"password": "another password"}).status == 401
    told = owner.get("/session")
    assert (told["user"], told["scope"], told["setup"]) == ("owner", "admin", False)
    file = box.directory / "lab.access.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert PASSWORD not in file.read_text()
    assert "no password is set yet" in "\n".join(box.running.errors)


def test_the_cookie_and_the_headers_are_strict(box: Box, owner: Client) -> None:
    answer = box.nobody.ask("POST", "/session", {"password": PASSWORD})
    words = [word.strip().lower() for word in answer.headers["Set-Cookie"].split(";")]
    assert {"httponly", "secure", "samesite=strict", "path=/"} <= set(words)
    for path in ("/session", "//", "/nothing", "/state"):
        headers = box.nobody.ask("GET", path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        assert "aiohttp" not in str(headers).lower()


def test_nobody_gets_nothing_and_a_scope_reaches_as_far_as_it_does(box: Box, owner: Client) -> None:
    order = ["read", "control", "admin"]
    clients = {None: box.nobody, "read": box.machine("reader", "read"), "control": machine(owner, "teller", "control")}
    wrong = box.nobody
    wrong.token = "sp_" + "A" * 43
    refused = 0
    for method, path, operation in operations(owner):
        wanted = operation.get("x-scope")
        if wanted is None:
            continue
        assert wrong.ask(method, path).status == 401
        for held, client in clients.items():
            if held is None or order.index(held) < order.index(wanted):
                answer = client.ask(method, path, {} if method in ("POST", "PUT") else None)
                assert answer.status == (401 if held is None else 403), (method, path, held)
                assert answer.headers["Content-Type"].startswith("application/problem+json")
                refused += 1
    assert refused > 50


def test_another_sites_page_can_do_nothing(box: Box, owner: Client) -> None:
    body = {"verb": "on"}
    assert owner.ask("POST", "/outputs/relay/fan", body).json["done"]
    assert owner.ask("POST", "/outputs/relay/fan", body, Origin="https://evil.example").status == 403
    assert owner.ask("POST", "/outputs/relay/fan", body, Sec_Fetch_Site="cross-site").status == 403
    assert owner.ask("POST", "/outputs/relay/fan", body, X_CSRF_Token="x").status == 403
    assert owner.ask("POST", "/outputs/relay/fan", b'{"verb": "on"}', Content_Type="text/plain").status == 415
    assert box.nobody.ask("POST", "/session", {"password": PASSWORD}, Origin="https://evil.example").status == 403
    for host, status in (("evil.example", 421), ("lab.example:443", 200), ("localhost", 200), ("[::1", 421)):
        assert box.nobody.ask("GET", "/session", Host=host).status == status
    allowed = owner.ask("OPTIONS", "/state", Origin="https://evil.example")
    assert not [name for name in allowed.headers if name.lower().startswith("access-control")]


def test_what_is_too_long_is_refused_before_it_is_read(box: Box, owner: Client) -> None:
    long = json.dumps({"verb": "x" * 5000}).encode()
    assert owner.ask("POST", "/outputs/relay/fan", long).status == 413
    assert owner.ask("POST", "/configuration/check", {"text": "#" * 900_000}).status == 200
    with box.nobody.socket() as connection:
        head = "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {10**9}\r\n\r\n".encode())
        assert b" 413 " in connection.recv(4096)
    with box.nobody.socket() as connection:
        connection.sendall(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 400 " in connection.recv(4096)


def test_who_sends_slowly_is_not_waited_for(box: Box, owner: Client) -> None:
    """All at once: a head that does not end, a body that does not come, a connection on which nothing is said."""
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connections = [box.nobody.socket() for _ in range(3)]
    connections[0].sendall(head)
    connections[1].sendall(head + b"Content-Length: 100\r\n\r\n{")
    for connection in connections:
        connection.settimeout(30)
    assert owner.get("/session")["user"] == "owner"
    assert b" 408 " in connections[1].recv(4096)
    for connection in (connections[0], connections[2]):
        with contextlib.suppress(ConnectionResetError, ssl.SSLError):  # cut off, in one way or another
            assert connection.recv(4096) == b""
    for connection in connections:
        connection.close()


def test_a_token_that_is_taken_back_is_none_at_once(box: Box, owner: Client) -> None:
    plc = machine(owner, "plc", "read")
    assert plc.get("/box")["box"] == "lab"
    assert owner.ask("POST", "/tokens", {"name": "plc", "scope": "admin"}).status == 422
    assert ("plc", "read") in [(token["name"], token["scope"]) for token in owner.get("/tokens")]
    box.run("token", "plc", "--remove")
    assert plc.ask("GET", "/box").status == 401
    assert owner.ask("DELETE", "/tokens/plc").status == 404


def test_every_answer_is_without_secrets(box: Box, owner: Client) -> None:
    hashes = json.loads((box.directory / "lab.access.json").read_text())
    secrets = [LITERAL, REFERRED, SET, PASSWORD, hashes["password"], hashes["password"].split("$")[-1]]
    until(owner, "/measurements", lambda told: len(told["rows"]) > 10, "some values")
    for method, path, _ in operations(owner):
        if method == "GET" and path not in ("/stream", "/doctor"):
            said = owner.ask("GET", path).text
            assert [secret for secret in secrets if secret in said] == [], path
    assert "********" in owner.get("/configuration")["text"]


def test_values_are_there_as_they_were_measured(owner: Client) -> None:
    face = owner.get("/box")
    assert [gas["node"] for gas in face["gases"]] == ["co2"]
    told = until(owner, "/measurements?from=-5min&points=2000", lambda told: len(told["rows"]) > 20, "values")
    valid = [row for row in told["rows"] if row["valid"]]
    assert not told["thinned"]
    assert sum(abs(row["ppm"] - 400.0) for row in valid) / len(valid) < 5.0
    few = owner.get("/measurements?from=-5min&points=4")
    assert few["thinned"]
    assert 1 <= len([row for row in few["rows"] if row["ppm"] is not None]) <= 4
    points = owner.get("/lock-in/lock")["points"]
    assert 20 < len(points) <= 300
    spectrum = owner.get("/spectrum/spectrum?low_hz=1500&high_hz=2500&points=50")
    highest = max(range(len(spectrum["power"])), key=lambda i: spectrum["power"][i])
    assert abs(spectrum["frequency_hz"][highest] - 2012.5) <= spectrum["bin_hz"]
    lines = list(csv.DictReader(io.StringIO(owner.ask("GET", "/journal?format=csv").text)))
    assert {line["node"] for line in lines} <= {"co2"}
    assert owner.ask("GET", "/measurements?node=none").status == 404
    assert owner.ask("GET", "/measurements?from=yesterday").status == 422


def test_the_stream_tells_of_a_change(box: Box, owner: Client) -> None:
    with owner.socket() as connection:
        connection.settimeout(30)
        cookie = f"Cookie: spectrophone={owner.cookie}\r\n"
        connection.sendall(f"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n".encode())
        said = b""
        while said.count(b"event: measurement") < 2:
            said += connection.recv(65536)
        assert b"text/event-stream" in said
        assert said.index(b"event: state") < said.index(b"event: measurement")
        owner.tell("POST", "/outputs/cell", {"verb": "set", "args": {"value": 800}})
        while b"event: command" not in said and b'"cell": {"state": "800.0"}' not in said:
            said += connection.recv(65536)
    owner.tell("POST", "/outputs/cell", {"verb": "set", "args": {"value": 400}})


def test_nothing_lights_the_laser_past_the_interlock(owner: Client) -> None:
    owner.tell("POST", "/outputs/switch/interlock", {"verb": "off"})
    until(owner, "/state", lambda told: told["laser"]["barred"], "an open interlock")
    answer = owner.tell("POST", "/outputs/laser", {"verb": "on"})
    assert answer["state"] == "off"
    assert owner.get("/state")["outputs"]["laser"]["state"] == "off"
    assert owner.ask("POST", "/outputs/laser", {"verb": "tune", "args": {"frequency_hz": 2000}}).status == 422
    owner.tell("POST", "/outputs/switch/interlock", {"verb": "on"})
    until(owner, "/state", lambda told: not told["laser"]["barred"], "a closed interlock")
    owner.tell("POST", "/outputs/laser", {"verb": "on"})
    until(owner, "/state", lambda told: told["laser"]["state"] == "lit", "light")


def test_a_sweep_is_a_job_with_progress_and_a_fit(owner: Client) -> None:
    assert owner.tell("POST", "/sweeps", {})["done"]
    assert not owner.tell("POST", "/sweeps", {})["done"]
    seen = set()

    def over(told: list[dict[str, Any]]) -> bool:
        job = {each["name"]: each for each in told}["sweep"]
        seen.add((job["state"], job["progress"]))
        return bool(job["state"] in ("done", "failed"))

    (job,) = [job for job in until(owner, "/jobs", over, "sweep") if job["name"] == "sweep"]
    assert job["state"] == "done", job
    assert len([progress for state, progress in seen if state == "running"]) > 2
    found = owner.get("/sweep")
    assert found["good"]
    heights = dict(zip(found["fit"]["frequency_hz"], found["fit"]["amplitude"], strict=True))
    assert abs(max(heights, key=heights.__getitem__) - found["f0_hz"]) < 3.0
    for point in found["points"]:
        near = min(heights, key=lambda hertz: abs(hertz - point["frequency_hz"]))
        assert abs(heights[near] - abs(complex(point["in_phase"], point["quadrature"]))) < 0.02 * max(heights.values())


def test_a_calibration_can_be_cancelled_and_wants_its_ppm(owner: Client) -> None:
    assert owner.ask("POST", "/calibrations", {"kind": "zero", "ppm": 5}).status == 422
    assert not owner.tell("POST", "/calibrations", {"kind": "span"})["done"]
    assert owner.tell("POST", "/calibrations", {"kind": "span", "ppm": 400, "seconds": 60})["done"]
    until(owner, "/jobs", lambda told: any(job["state"] == "running" for job in told), "span")
    assert owner.tell("DELETE", "/jobs/calibration")["done"]
    until(owner, "/jobs", lambda told: all(job["state"] != "running" for job in told), "end")
    (calibration,) = owner.get("/calibrations")
    assert (calibration["node"], calibration["current"]) == ("co2", None)


def test_an_action_is_paused_broken_mended_and_loaded_anew(box: Box, owner: Client) -> None:
    until(owner, "/actions/watch", lambda told: told["delivered"] > 0, "delivery")
    assert [line["text"] for line in owner.get("/actions/watch/log")][-1] == "seen"
    assert owner.tell("POST", "/actions/watch/pause")["done"]
    paused = owner.get("/actions/watch")
    assert paused["state"] == "paused"
    (box.directory / "watch.py").write_text(SCRIPT.replace("self.api", "self.apy"))
    assert owner.tell("POST", "/actions/watch/reload")["done"]
    until(owner, "/actions/watch", lambda told: told["driver"]["reloads"] == 1, "another version")
    assert owner.get("/actions/watch")["calls"] == paused["calls"]
    assert owner.tell("POST", "/actions/watch/resume")["done"]
    broken = until(owner, "/actions/watch", lambda told: told["problem"], "problem")
    assert "watch.py:3" in broken["problem"]
    assert "apy" in broken["problem"]
    (box.directory / "watch.py").write_text(SCRIPT)
    owner.tell("POST", "/actions/watch/reload")
    until(owner, "/actions/watch", lambda told: not told["problem"], "recovery")
    refused = owner.tell("POST", "/actions/watch/resume")
    assert (refused["done"], refused["reason"]) == (False, "watch is not paused")
    assert owner.ask("POST", "/actions/none/pause").status == 404


def test_a_configuration_is_checked_applied_kept_and_taken_back(box: Box, owner: Client) -> None:
    before = box.file.read_text()
    told = owner.get("/configuration")
    assert (told["faults"], told["previous"]) == ([], False)
    wrong = told["text"].replace("above 1000", "abve 1000")
    (fault,) = owner.tell("POST", "/configuration/check", {"text": wrong})["faults"]
    line = wrong.split("\n")[fault["line"] - 1]
    assert "abve" in line
    assert (fault["option"], fault["value"]) == ("rules[0].when", "co2 abve 1000")
    refused = owner.ask("PUT", "/configuration", {"text": wrong, "etag": told["etag"]})
    assert (refused.status, refused.json["faults"]) == (422, [fault])
    assert box.file.read_text() == before

    right = told["text"].replace("above 1000", "above 900").replace("hosts: [lab.example]", "hosts: []")
    assert owner.ask("PUT", "/configuration", {"text": right, "etag": "0"}).status == 409
    applied = owner.tell("PUT", "/configuration", {"text": right, "etag": told["etag"]})
    assert (applied["applied"], applied["restart"]) == (True, ["web"])
    assert f"password: {LITERAL}" in box.file.read_text()
    assert box.file.with_name("box.yaml.previous").read_text() == before
    eventually(lambda: any("box.yaml applied" in line for line in box.running.errors), "the gateway to follow")
    until(owner, "/state", lambda told: told["outputs"]["threshold/high"]["state"].startswith("900"), "threshold")
    assert owner.tell("POST", "/configuration/revert")["applied"]
    assert box.file.read_text() == before


def test_the_doctor_and_the_allan_deviation_come_from_the_command_line(owner: Client) -> None:
    findings = owner.get("/doctor")
    assert {"software", "gateway"} <= {finding["group"] for finding in findings}
    answer = owner.ask("GET", "/allan?from=-1h")
    assert answer.status in (200, 409)
    if answer.status == 200:
        assert answer.json["summary"]["node"] == "co2"


def test_guessing_is_slowed_down(box: Box, owner: Client) -> None:
    answers = [box.nobody.ask("POST", "/session", {"password": f"guess number {n}"}) for n in range(6)]
    assert answers[-1].status == 429
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert owner.get("/session")["user"] == "owner"


def test_an_alert_that_was_seen_stays_seen_over_a_restart(tmp_path: Path) -> None:
    with web_box(tmp_path) as box:
        owner = box.owner()
        owner.tell("POST", "/outputs/cell", {"verb": "set", "args": {"value": 5000}})
        (alert,) = until(owner, "/state", lambda told: told["alerts"], "alert")["alerts"]
        assert alert["acknowledged"] is None
        seen = owner.tell("POST", f"/alerts/{alert['id']}/acknowledge", {"note": "pump"})
        assert (seen["acknowledged"]["by"], seen["acknowledged"]["note"]) == ("owner", "pump")
        assert owner.get("/state")["alerts"][0]["acknowledged"] == seen["acknowledged"]
        assert owner.ask("POST", "/alerts/17/acknowledge", {}).status == 404
        assert box.running.stop() == 0
    with running_box(tmp_path, box.port) as again:
        (kept,) = [each for each in again.owner().get("/alerts") if each["id"] == alert["id"]]
        assert kept["acknowledged"] == seen["acknowledged"]
        assert again.running.stop() == 0
