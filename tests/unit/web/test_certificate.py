"""The box's own certificate: for its names, with one key for ever, and a client that knows it is content."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest

from gateway.config.sections import WebCertificate, WebSection
from gateway.errors import LinkError
from gateway.web import certificate

NAMES = ["box.local", "localhost", "127.0.0.1", "::1"]


def made(directory: Path, names: list[str] = NAMES) -> ssl.SSLContext | None:
    return certificate.context(WebSection(tls="generated"), directory, "lab", names)


def shaken(server: ssl.SSLContext, authority: Path, name: str) -> ssl.SSLObject:
    """A client that trusts `authority` only, and expects `name`, once both have shaken hands."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    knowing = ssl.create_default_context(cafile=str(authority))
    client = knowing.wrap_bio(to_client, to_server, server_hostname=name)
    serving = server.wrap_bio(to_server, to_client, server_side=True)
    done = {client: False, serving: False}
    for _ in range(8):
        for side in done:
            try:
                side.do_handshake()
                done[side] = True
            except ssl.SSLWantReadError:
                pass
    assert all(done.values())
    return client


@pytest.mark.parametrize("name", ["box.local", "localhost", "127.0.0.1"])
def test_a_client_that_knows_it_is_content_with_each_of_its_names(tmp_path: Path, name: str) -> None:
    server = made(tmp_path)
    assert server is not None
    assert shaken(server, tmp_path / "lab.web.pem", name).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(server, tmp_path / "lab.web.pem", "evil.example")


def test_it_stays_until_the_names_change_and_the_key_stays_for_ever(tmp_path: Path) -> None:
    made(tmp_path)
    files = [tmp_path / "lab.web.pem", tmp_path / "lab.web.key"]
    assert stat.S_IMODE(files[1].stat().st_mode) == 0o600
    first = [file.read_text() for file in files]
    made(tmp_path)
    assert [file.read_text() for file in files] == first
    made(tmp_path, [*NAMES, "lab.example"])
    assert (files[0].read_text() == first[0], files[1].read_text() == first[1]) == (False, True)


def test_without_tls_there_is_none_and_a_file_of_ones_own_is_taken(tmp_path: Path) -> None:
    for settings in (WebSection(), WebSection(tls="off")):
        assert certificate.context(settings, tmp_path, "lab", NAMES) is None
    made(tmp_path)
    own = WebCertificate(certificate=tmp_path / "lab.web.pem", key=tmp_path / "lab.web.key")
    assert certificate.context(WebSection(tls=own), tmp_path, "lab", NAMES) is not None
    missing = own.model_copy(update={"key": tmp_path / "none.key"})
    with pytest.raises(LinkError, match=r"web\.tls\.key: .*none\.key cannot be read"):
        certificate.context(WebSection(tls=missing), tmp_path, "lab", NAMES)
    swapped = WebCertificate(certificate=own.key, key=own.certificate)
    with pytest.raises(LinkError, match="are no certificate and its key"):
        certificate.context(WebSection(tls=swapped), tmp_path, "lab", NAMES)


def test_a_machine_without_openssl_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LinkError, match="apt install openssl"):
        made(tmp_path)
