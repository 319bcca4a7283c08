"""What may be listed in `network` and `file_access`, what it means, and what is said about the rest."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scripts.permissions import Grant, Place, authorities, grant, locate, normal, place, zones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("smtp.example.com:587", Place("smtp.example.com", 587)),
        ("  SMTP.Example.COM.:587 ", Place("smtp.example.com", 587)),
        ("10.0.0.5:5432", Place("10.0.0.5", 5432)),
        ("127.0.0.1:1883", Place("127.0.0.1", 1883)),
        ("localhost:65535", Place("localhost", 65535)),
        ("db_1:1", Place("db_1", 1)),
        ("[::1]:8080", Place("::1", 8080)),
        ("[FD00:0:0::5]:80", Place("fd00::5", 80)),
        ("[::ffff:127.0.0.1]:80", Place("::ffff:127.0.0.1", 80)),
        ("bücher.example:443", Place("xn--bcher-kva.example", 443)),
    ],
)
def test_a_place(text: str, expected: Place) -> None:
    found = place(text)
    assert found.port == expected.port
    assert found.host == normal(expected.host)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smtp.example.com", 'lacks the host or the port: write both, such as "smtp.example.com:587"'),
        ("smtp.example.com:", "no port from 1 to 65535"),
        ("smtp.example.com:0", "no port from 1 to 65535"),
        ("smtp.example.com:65536", "no port from 1 to 65535"),
        ("smtp.example.com:٣", "no port from 1 to 65535"),
        (":587", "lacks the host or the port"),
        ("", "lacks the host or the port"),
        ("https://api.example.com/v1?x=1", 'write host and port only, such as "api.example.com:443"'),
        ("postgresql://box:secret@db.example.com/gas", 'such as "db.example.com:5432"'),
        ("redis://cache.example.com:6380/0", 'such as "cache.example.com:6380"'),
        ("https://", 'such as "smtp.example.com:587"'),
        ("box@smtp.example.com:587", "has a user"),
        ("10.0.0.0/8:80", "list each host with its port"),
        ("*.example.com:443", "list each host with its port"),
        ("::1:8080", "stands in brackets"),
        ("[::1]", "not an IPv6 address with a port"),
        ("[::1]8080", "not an IPv6 address with a port"),
        ("[localhost]:80", "not an IPv6 address with a port"),
        ("[fe80::1%eth0]:80", "has a zone"),
        ("127.1:80", "no proper address"),
        ("0x7f000001:80", "no proper address"),
        ("2130706433:80", "no proper address"),
        ("010.0.0.1:80", "no proper address"),
        ("host.0x1:80", "no proper address"),
        ("0.0.0.0:80", "no address of one machine"),
        ("[::]:80", "no address of one machine"),
        ("224.0.0.1:80", "no address of one machine"),
        ("255.255.255.255:80", "no address of one machine"),
        ("a b:80", "no host name"),
        ("-a.example:80", "no host name"),
        ("a..b:80", "no host name"),
        ("a" * 64 + ":80", "no host name"),
    ],
)
def test_what_is_no_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as fault:
        place(text)
    assert str(fault.value).startswith(f'"{text}" ')


def test_a_fault_does_not_repeat_a_password_as_a_remedy() -> None:
    with pytest.raises(ValueError, match="scheme") as fault:
        place("smtp://box:right horse@smtp.example.com")
    assert "horse" not in str(fault.value).split("write")[1]


@given(st.text())
def test_whatever_is_written_is_a_place_or_a_fault(text: str) -> None:
    try:
        found = place(text)
    except ValueError:
        return
    assert place(str(found)) == found


@pytest.mark.parametrize(
    "spelling", ["SMTP.example.com", "smtp.example.com.", "ｓｍｔｐ.example。com", "smtp.example．COM"]
)
def test_spellings_of_a_name(spelling: str) -> None:
    assert normal(spelling) == "smtp.example.com"


@pytest.mark.parametrize("other", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "::ffff:127.0.0.1", "127.0.0.1 "])
def test_other_forms_of_an_address_are_not_it(other: str) -> None:
    assert normal(other) != "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/var/lib/reports", Grant("/var/lib/reports")),
        ("/var/lib/reports/:rw", Grant("/var/lib/reports", True)),
        ("/var/lib/reports:ro", Grant("/var/lib/reports")),
        ("/var/lib/a:b:rw", Grant("/var/lib/a:b", True)),
    ],
)
def test_a_grant(text: str, expected: Grant) -> None:
    assert grant(text) == expected
    assert grant(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reports:rw", "not absolute"),
        ("", "not absolute"),
        ("//server/share", "not absolute"),
        ("/", "never given"),
        ("/proc/self", "never given"),
        ("/sys", "never given"),
        ("/dev/gpiochip0:rw", "never given"),
        ("/var/../etc", 'without ".."'),
        ("/var\n/x", "control characters"),
    ],
)
def test_what_is_never_granted(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        grant(text)


def test_a_grant_covers_what_is_beneath_and_no_namesake() -> None:
    given = Grant("/data/in")
    assert given.covers("/data/in")
    assert given.covers("/data/in/a/b")
    assert not given.covers("/data/input")
    assert not given.covers("/data")


def test_a_grant_on_this_machine(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "state" / "journal").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "reports")
    os.mkfifo(tmp_path / "pipe")
    own = [str(tmp_path / "state" / "journal")]
    good = Grant(str(tmp_path / "reports"), True)
    assert locate(good, own) == good
    for name, said in (
        ("link", f"leads to {tmp_path}/reports: write that"),
        ("nothing", "No such file or directory: create it first"),
        ("pipe", "neither a file nor a directory"),
        ("state", "the gateway's own"),
        ("state/journal", "the gateway's own"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            locate(Grant(str(tmp_path / name)), own)


def test_the_authorities_are_one_file_to_read() -> None:
    assert all(not each.writable and Path(each.path).is_file() for each in authorities())


def test_the_machines_time_zones_are_for_reading() -> None:
    assert zones() == tuple(Grant(path) for path in ("/usr/share/zoneinfo",) if Path(path).is_dir())
