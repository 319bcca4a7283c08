"""A certificate authority for tests, and the certificates that it issues, by the openssl program."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

LOOPBACK = ("localhost", "127.0.0.1")


class Authority:
    """A certificate authority of a test's own. `file` is its certificate, in PEM form; no key has a password."""

    def __init__(self, directory: Path, name: str = "Test authority") -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self.file, self._key = directory / "ca.pem", directory / "ca.key"
        openssl(
            "req", "-x509", *_new_key(self._key), "-out", self.file, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip

    def issue_for_later(self, name: str, hosts: Sequence[str] = LOOPBACK) -> tuple[Path, Path]:
        """The same, good from the year 2099 on."""
        certificate, key, wish = (self._directory / f"{name}.{end}" for end in ("pem", "key", "csr"))
        index, config = self._directory / "index", self._directory / "ca.cnf"
        index.write_text("")
        config.write_text(
            f"[ca]\ndefault_ca=own\n[own]\ndatabase={index}\nnew_certs_dir={self._directory}\ndefault_md=sha256\n"
            f"policy=any\nrand_serial=yes\nx509_extensions=server\n[any]\ncommonName=supplied\n"
            f"[server]\nsubjectAltName={_names(hosts)}\n"
        )
        openssl("req", *_new_key(key), "-out", wish, "-subj", f"/CN={name}")
        openssl(
            "ca", "-batch", "-notext", "-config", config, "-cert", self.file, "-keyfile", self._key, "-in", wish,
            "-out", certificate, "-startdate", "20990101000000Z", "-enddate", "21000101000000Z",
        )  # fmt: skip
        return certificate, key

    def issue(self, name: str, hosts: Sequence[str] = LOOPBACK, *, days: int = 2) -> tuple[Path, Path]:
        """Certificate and key of the server (or client) `name`, good for `hosts` and for that many days from now; with
        -1 it ran out yesterday. The same name again makes new files in place of the old."""
        certificate, key, wish = (self._directory / f"{name}.{end}" for end in ("pem", "key", "csr"))
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={_names(hosts)}\nauthorityKeyIdentifier=keyid\n")
        openssl("req", *_new_key(key), "-out", wish, "-subj", f"/CN={name}")
        openssl(
            "x509", "-req", "-in", wish, "-CA", self.file, "-CAkey", self._key, "-CAcreateserial",
            "-out", certificate, "-days", str(days), "-extfile", extensions,
        )  # fmt: skip
        return certificate, key


def openssl(*words: str | Path) -> None:
    """Run openssl; the suite fails with the line that installs it."""
    found = shutil.which("openssl", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    assert found, "openssl is missing: apt install openssl"
    subprocess.run([found, *words], check=True, capture_output=True)


def _new_key(file: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file]


def _names(hosts: Sequence[str]) -> str:
    return ",".join(f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts)
