"""The servers that shipped scripts are tested with, as plain clients see them: they take what is right, refuse what is
not, and come back with what they had."""

from __future__ import annotations

import signal
import smtplib
import socket
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from email.message import EmailMessage
from http.client import HTTPSConnection
from pathlib import Path
from ssl import SSLCertVerificationError, create_default_context
from urllib.parse import urlencode

import psycopg
import pytest

from tests.real.gateway import eventually
from tests.servers.authority import Authority
from tests.servers.influx import InfluxDB
from tests.servers.postgres import PostgreSQL
from tests.servers.process import Process, program
from tests.servers.smtp import Fault, MailServer

TIMEOUT_S = 30.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def mail_server(authority: Authority) -> Iterator[MailServer]:
    with MailServer(authority) as server:
        yield server


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[PostgreSQL]:
    with PostgreSQL(tmp_path_factory.mktemp("postgres"), authority) as server:
        yield server


@pytest.fixture(scope="module")
def influx(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[InfluxDB]:
    with InfluxDB(tmp_path_factory.mktemp("influx"), authority) as server:
        yield server


def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "box@example.org", "Zoë Weiß <zoe@example.org>"
    message["Subject"] = "CO₂ über 1000 ppm"
    message.set_content("1234 ± 5 ppm\n.\nA line that is only a dot came before.\n")
    return message


def client(server: MailServer, timeout_s: float = TIMEOUT_S) -> smtplib.SMTP:
    return smtplib.SMTP(server.host, server.port, timeout=timeout_s)


def deliver(server: MailServer, password: str = MailServer.password, timeout_s: float = TIMEOUT_S) -> None:
    with client(server, timeout_s) as session:
        session.starttls(context=create_default_context(cafile=server.ca))
        session.login(server.user, password)
        session.send_message(mail())


def test_mail_after_starttls_and_login_is_taken_with_headers_and_body_readable(mail_server: MailServer) -> None:
    deliver(mail_server)
    (taken,) = mail_server.mails
    assert (taken.sender, taken.recipients) == ("box@example.org", ("zoe@example.org",))
    assert taken.message["Subject"] == "CO₂ über 1000 ppm"
    assert taken.message["To"].addresses[0].display_name == "Zoë Weiß"
    assert taken.message.get_content() == "1234 ± 5 ppm\n.\nA line that is only a dot came before.\n"


@pytest.mark.parametrize("way", ["auth_plain", "auth_login"])
def test_both_ways_of_login_are_open(mail_server: MailServer, way: str) -> None:
    with client(mail_server) as session:
        session.starttls(context=create_default_context(cafile=mail_server.ca))
        session.ehlo()
        session.user, session.password = mail_server.user, mail_server.password
        code, _ = session.auth(way.removeprefix("auth_").upper(), getattr(session, way))
        assert code == 235


def test_mail_and_login_are_refused_in_plain_text(mail_server: MailServer) -> None:
    with client(mail_server) as session:
        session.ehlo()
        assert session.has_extn("starttls")
        assert not session.has_extn("auth")
        assert session.docmd("AUTH", "PLAIN AGJveABwYXNz")[0] == 530
        assert session.mail("box@example.org")[0] == 530


def test_mail_is_refused_without_login(mail_server: MailServer) -> None:
    with client(mail_server) as session:
        session.starttls(context=create_default_context(cafile=mail_server.ca))
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            session.send_message(mail())
    assert refused.value.smtp_code == 530
    assert mail_server.mails == []


def test_a_wrong_password_is_refused(mail_server: MailServer) -> None:
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        deliver(mail_server, "wrong horse")
    assert refused.value.smtp_code == 535
    assert mail_server.mails == []


def test_the_mail_servers_certificate_is_the_authoritys(mail_server: MailServer) -> None:
    with client(mail_server) as session, pytest.raises(SSLCertVerificationError):
        session.starttls(context=create_default_context())


@pytest.mark.parametrize(
    ("verb", "reply", "error"),
    [
        ("STARTTLS", "454 4.7.0 TLS not available", smtplib.SMTPResponseException),
        ("AUTH", "454 4.7.0 Temporary authentication failure", smtplib.SMTPAuthenticationError),
        ("AUTH", "535 5.7.8 Authentication credentials invalid", smtplib.SMTPAuthenticationError),
        ("MAIL", "550 5.7.1 Not from you", smtplib.SMTPSenderRefused),
        ("RCPT", "550 5.1.1 No such user", smtplib.SMTPRecipientsRefused),
        ("DATA", "451 4.3.0 Try later", smtplib.SMTPDataError),
        ("END", "550 5.7.1 Looks like spam", smtplib.SMTPDataError),
    ],
)
def test_a_refusal_that_was_ordered_comes_at_its_place(
    mail_server: MailServer, verb: str, reply: str, error: type[Exception]
) -> None:
    mail_server.faults[verb] = Fault(reply)
    with pytest.raises(error, match=reply[4:]):
        deliver(mail_server)
    assert mail_server.mails == []
    mail_server.faults.clear()
    deliver(mail_server)
    assert len(mail_server.mails) == 1


@pytest.mark.parametrize("verb", ["EHLO", "STARTTLS", "AUTH", "DATA", "END"])
def test_a_connection_can_drop_at_any_step_and_no_mail_is_taken(mail_server: MailServer, verb: str) -> None:
    mail_server.faults[verb] = Fault(drop=True)
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        deliver(mail_server)
    assert mail_server.mails == []


def test_a_slow_mail_server_outlasts_the_clients_patience(mail_server: MailServer) -> None:
    mail_server.faults["DATA"] = Fault(pause_s=3600.0)
    with pytest.raises(smtplib.SMTPServerDisconnected, match="timed out"):
        deliver(mail_server, timeout_s=0.5)
    eventually(lambda: not mail_server.connections, "end of the connection")


def test_a_mail_server_that_stops_cuts_its_clients_and_comes_back_on_its_port(mail_server: MailServer) -> None:
    port = mail_server.port
    session = client(mail_server)
    session.starttls(context=create_default_context(cafile=mail_server.ca))
    mail_server.stop()
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        session.login(mail_server.user, mail_server.password)
    session.close()
    with pytest.raises(ConnectionRefusedError):
        deliver(mail_server)
    mail_server.start()
    deliver(mail_server)
    assert mail_server.port == port


def test_a_mail_server_stops_in_the_middle_of_a_handshake(mail_server: MailServer) -> None:
    with socket.create_connection((mail_server.host, mail_server.port), TIMEOUT_S) as raw, raw.makefile("rwb") as said:
        said.readline()
        said.write(b"STARTTLS\r\n")
        said.flush()
        assert said.readline().startswith(b"220")
        mail_server.stop()
        assert said.read() == b""


def test_rows_are_kept_over_a_restart_and_over_kill_9(postgres: PostgreSQL) -> None:
    postgres.query("CREATE TABLE kept (at timestamptz, ppm double precision)")
    insert = "INSERT INTO kept VALUES (to_timestamp(%s), %s)"
    postgres.query(insert, 1_700_000_000, 412.5)
    postgres.stop()
    with pytest.raises(psycopg.OperationalError, match="refused"):
        postgres.query("SELECT 1")
    postgres.start()
    postgres.query(insert, 1_700_000_001, 413.5)
    with psycopg.connect(postgres.dsn) as open_one:
        postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            open_one.execute("SELECT 1")
    postgres.start()
    assert postgres.query("SELECT extract(epoch FROM at)::bigint, ppm FROM kept ORDER BY at") == [
        (1_700_000_000, 412.5),
        (1_700_000_001, 413.5),
    ]


def test_a_statement_runs_over_tls_as_an_ordinary_user(postgres: PostgreSQL) -> None:
    assert postgres.query("SELECT ssl, usesuper FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
                          "JOIN pg_user USING (usename) WHERE pid = pg_backend_pid()") == [(True, False)]  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("right%20horse", "wrong%20horse", "password authentication failed"),
        ("sslmode=verify-full", "sslmode=disable", "no encryption"),
        ("ca.pem", "other.pem", "certificate verify failed"),
    ],
)
def test_postgresql_refuses_and_is_refused(
    postgres: PostgreSQL, authority: Authority, tmp_path: Path, right: str, wrong: str, reason: str
) -> None:
    stranger = Authority(tmp_path / "stranger", "Stranger").file
    authority.file.with_name("other.pem").write_bytes(stranger.read_bytes())
    assert right in postgres.dsn
    with pytest.raises(psycopg.OperationalError, match=reason):
        psycopg.connect(postgres.dsn.replace(right, wrong))


def write(server: InfluxDB, lines: str, password: str = InfluxDB.password) -> int:
    connection = HTTPSConnection(server.host, server.port, context=create_default_context(cafile=server.ca))
    login = {"Authorization": "Basic " + b64encode(f"{server.user}:{password}".encode()).decode()}
    connection.request("POST", f"/write?{urlencode({'db': server.database})}", lines.encode(), login)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def test_lines_come_back_with_time_stamps_fields_and_tags(influx: InfluxDB) -> None:
    lines = (
        'gas,cell=A\\ 1 ppm=412.25,lines=3i,ok=true,said="µ" 1700000000123456789\n'
        "gas,cell=B ppm=-0.5 1700000001000000000\n"
    )
    assert write(influx, lines) == 204
    first, second = influx.query("SELECT * FROM gas")
    assert first == {
        "time": 1_700_000_000_123_456_789, "cell": "A 1", "ppm": 412.25, "lines": 3, "ok": True, "said": "µ",
    }  # fmt: skip
    assert (second["time"], second["cell"], second["ppm"]) == (1_700_000_001_000_000_000, "B", -0.5)


def test_a_malformed_line_is_a_400_and_a_wrong_password_a_401(influx: InfluxDB) -> None:
    assert write(influx, "refused ppm= 1700000000000000000\n") == 400
    assert write(influx, "refused ppm=1 1700000000000000000\n", "wrong horse") == 401
    assert influx.query("SELECT * FROM refused") == []


def test_points_are_kept_over_a_restart_and_over_kill_9(influx: InfluxDB) -> None:
    assert write(influx, "kept ppm=1 1700000000000000000\n") == 204
    influx.stop()
    with pytest.raises(ConnectionRefusedError):
        write(influx, "kept ppm=9 1700000009000000000\n")
    influx.start()
    assert write(influx, "kept ppm=2 1700000001000000000\n") == 204
    influx.kill()
    influx.start()
    assert [point["ppm"] for point in influx.query("SELECT ppm FROM kept")] == [1, 2]


def test_a_missing_program_is_named_with_the_line_that_installs_it() -> None:
    with pytest.raises(AssertionError, match="no-such-program is missing: apt install its-package"):
        program("no-such-program", "its-package")


def test_a_server_that_ends_at_its_start_gives_its_reason(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo no room >&2; exit 3"], tmp_path / "log", {"PATH": "/bin"})
    with pytest.raises(AssertionError, match="ended with 3: no room"):
        process.start(lambda: False)


def test_a_server_ends_with_the_suite_even_when_that_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import os, pathlib, signal; from tests.servers.process import Process; "
        f"log = pathlib.Path({str(log)!r}); "
        "Process(['sh', '-c', 'echo $$; exec sleep 3600'], log, {'PATH': '/bin'}).start(lambda: log.read_text()); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    eventually(lambda: not running(int(log.read_text())), "end of the server")


def running(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
