"""The server's side of TLS: a certificate of the owner's, or one that the box makes and signs itself.

`openssl` makes it, by one command: the tool is on every Debian, for Python's own `ssl` comes from it, and a library
that does nothing else here would be the largest of all that the gateway needs. The certificate is P-256, for ten years
(browsers ask once, and it is nothing's authority), and names what the box may be called by; where that changes it is
made anew, with the same key, so that who has pinned the key goes on.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gateway.config.sections import WebCertificate, WebSection
from gateway.errors import LinkError

DAYS = 3650
_LONGEST_S = 30.0


def context(settings: WebSection, directory: Path, box: str, names: Sequence[str]) -> ssl.SSLContext | None:
    """The server's context, None where there is no TLS. A certificate for `names` is made in `directory` where that is
    wanted and not there yet. Blocks for a moment. Raises LinkError.
    """
    match settings.tls:
        case None | "off":
            return None
        case WebCertificate(certificate=certificate, key=key):
            return _loaded(certificate, key)
        case _:
            return _loaded(*_generated(directory, box, names))


def _loaded(certificate: Path, key: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    for file, option in ((certificate, "certificate"), (key, "key")):
        try:
            file.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LinkError(
                f"web.tls.{option}: {file} cannot be read: {reason}", "Correct the path, or put the file there"
            ) from None
    try:
        made.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError):
        raise LinkError(
            f"web.tls: {certificate} and {key} are no certificate and its key",
            "Give PEM files that belong together; a key must not be encrypted",
        ) from None
    return made


def _no_password() -> str:
    """Stands in for OpenSSL's question at the terminal, which nobody would answer."""
    raise ValueError("encrypted")


def _generated(directory: Path, box: str, names: Sequence[str]) -> tuple[Path, Path]:
    """Certificate and key, made where they are missing or for other names."""
    certificate, key, about = (directory / f"{box}.web.{suffix}" for suffix in ("pem", "key", "names"))
    wanted = json.dumps(sorted(names))
    if certificate.exists() and key.exists() and about.exists() and about.read_text("utf-8") == wanted:
        return certificate, key
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not key.exists():
        made = _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        key.touch(mode=0o600)
        key.write_text(made, "ascii")
    titles = ",".join(f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in sorted(names))
    extensions = [f"subjectAltName={titles}", "basicConstraints=critical,CA:FALSE", "extendedKeyUsage=serverAuth"]
    added = [word for extension in extensions for word in ("-addext", extension)]
    command = ["req", "-x509", "-new", "-key", str(key), "-sha256", "-days", str(DAYS), "-subj", f"/CN={box}"]
    certificate.write_text(_openssl(*command, *added), "ascii")
    about.write_text(wanted, "utf-8")
    return certificate, key


def _openssl(*arguments: str) -> str:
    tool = shutil.which("openssl")
    if tool is None:
        raise LinkError("web.tls: generated needs openssl, which is not installed", "Install it: apt install openssl")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=_LONGEST_S, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise LinkError(f"openssl {arguments[0]} failed: {said[-1] if said else 'no reason'}", "Check web.hosts")
    return done.stdout


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
