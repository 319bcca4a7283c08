"""The service that takes the settings from the card, before network and gateway start.

A file that has not changed since it was taken is left alone: what was changed on the box meanwhile stays. Secrets are
taken over and written over on the card. Whatever has a fault is told in spectrophone-status.txt, and the box starts
with the rest.
"""

from __future__ import annotations

import grp
import hashlib
import json
import socket
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import card
import slots
import system_yaml
import yaml
from card import CARD, GATEWAY, SYSTEM
from system_yaml import Network

CONFIGURATION = Path("/etc/spectrophone")
TEMPLATES = Path("/usr/share/spectrophone/card")
FIRMWARE = Path("/boot/firmware")
TAKEN = SYSTEM / "settings.json"
BEGIN, END = "# spectrophone begin", "# spectrophone end"


def main() -> None:
    """Take what is new, tell what came of it, and start anew if the firmware has to read something else."""
    before: dict[str, Any] = json.loads(TAKEN.read_text()) if TAKEN.exists() else {}
    digests: dict[str, str] = before.get("digests", {})
    told: dict[str, list[str]] = before.get("told", {})
    for name, take in _TAKE:
        path = CARD / name
        if not path.exists():
            continue
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digests.get(name):
            try:
                told[name] = take(card.decoded(data))
            except UnicodeDecodeError:
                told[name] = [f"{name}: this is no text in UTF-8, so it was not taken. Save it as UTF-8."]
            digests[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    slot = slots.running(Path("/proc/cmdline").read_text())
    lines, key = _lines(before.get("board", {}))
    card.put(
        TAKEN, json.dumps({"digests": digests, "told": told, "board": {"key": key, "lines": lines}}).encode(), 0o600
    )
    card.tell(slot, [line for name in sorted(told) for line in told[name]], _update())
    on_trial = slots.parse((CARD / "autoboot.txt").read_text()).tried(slot)
    if write_lines(FIRMWARE / "config.txt", lines) and not on_trial:
        print("the firmware reads the board's lines at its next start, which is now", flush=True)
        subprocess.run(["systemctl", "--no-block", "reboot"], check=True)


def _system(text: str) -> list[str]:
    """Apply system.yaml; what to tell."""
    wanted, told = system_yaml.read(text)
    if wanted.hostname:
        card.put(SYSTEM / "hostname", f"{wanted.hostname}\n".encode())
        socket.sethostname(wanted.hostname)
        told.append(f"system.yaml: the box is called {wanted.hostname}.")
    if wanted.timezone:
        link = SYSTEM / "localtime.new"
        link.unlink(missing_ok=True)
        link.symlink_to(system_yaml.ZONES / wanted.timezone)
        link.replace(SYSTEM / "localtime")
        told.append(f"system.yaml: the time zone is {wanted.timezone}.")
    if wanted.ssh_authorized_keys is not None:
        keys = "".join(f"{key}\n" for key in wanted.ssh_authorized_keys)
        card.put(SYSTEM / "authorized_keys", keys.encode(), 0o600)
        told.append(f"system.yaml: {len(wanted.ssh_authorized_keys)} keys open the box to root over SSH.")
    if wanted.wifi is not None:
        told += _wifi(wanted.wifi, wanted.country)
    if wanted.page_password in wanted.passwords():
        told += _page(wanted.page_password)
    clean = system_yaml.scrubbed(text, wanted.passwords())
    if clean != text:
        with card.writable():
            card.overwrite(CARD / "system.yaml", clean.replace("\n", "\r\n").encode())
    return told


def _wifi(wanted: tuple[Network, ...], country: str | None) -> list[str]:
    kept = SYSTEM / "wifi.json"
    before = tuple(Network(**each) for each in json.loads(kept.read_text())) if kept.exists() else ()
    networks, faults = system_yaml.known_passwords(wanted, before)
    card.put(kept, json.dumps([asdict(network) for network in networks]).encode(), 0o600)
    card.put(SYSTEM / "wpa_supplicant.conf", system_yaml.supplicant(networks, country).encode(), 0o600)
    return [*faults, *(f"system.yaml: Wi-Fi {network.ssid!r} is known." for network in networks)]


def _page(password: str) -> list[str]:
    """Set the page's password, as the gateway's user."""
    command = [
        "runuser",
        "-u",
        "spectrophone",
        "--",
        GATEWAY,
        "web",
        "password",
        "--config",
        CONFIGURATION / "box.yaml",
    ]
    try:
        done = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"system.yaml: page_password: nobody could set it: {error}. Write it anew."]
    if done.returncode:
        return [f"system.yaml: page_password: it is not set; write it anew: {' '.join(done.stderr.split())}"]
    return ["system.yaml: the page's password is set."]


def _secrets(text: str) -> list[str]:
    """Take secrets over; they are no longer on the card then, even if they have a fault."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        return [f"secrets.yaml{f':{mark.line + 1}' if mark else ''}: this is no YAML, so it was not taken over."]
    if found is None:
        return ["secrets.yaml: none are new."]
    if not isinstance(found, dict) or not all(isinstance(value, str | int | float) for value in found.values()):
        return ['secrets.yaml: these are no secrets. Write lines such as `mqtt_password: "..."`.']
    _keep("secrets.yaml", text.encode())
    with card.writable():
        card.overwrite(CARD / "secrets.yaml", (TEMPLATES / "secrets.yaml").read_bytes().replace(b"\n", b"\r\n"))
    return [f"secrets.yaml: taken over and wiped off the card: {', '.join(str(name) for name in found)}."]


def _gateway(text: str) -> list[str]:
    """Give the gateway its configuration, faults and all: it runs on what is faultless of it."""
    _keep("box.yaml", text.encode())
    try:
        done = subprocess.run(
            [GATEWAY, "check", CONFIGURATION / "box.yaml"], capture_output=True, text=True, timeout=300
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"spectrophone.yaml: taken over, but nobody could check it: {error}."]
    if done.returncode == 0:
        return ["spectrophone.yaml: taken over, without faults."]
    said = (done.stdout + done.stderr).replace(str(CONFIGURATION / "box.yaml"), "spectrophone.yaml").splitlines()
    return ["spectrophone.yaml: it has faults, the gateway runs without them and with the laser dark:", *said]


def _keep(name: str, data: bytes) -> None:
    card.put(CONFIGURATION / name, data, 0o640, grp.getgrnam("spectrophone").gr_gid)


def _lines(before: dict[str, Any]) -> tuple[list[str], str]:
    """The board's lines of config.txt, none for a machine that has none; and of what they were made, so that the board
    is only looked for if that is another.
    """
    about = [card.version().encode(), (CONFIGURATION / "box.yaml").read_bytes()]
    for name in ("model", "hat/product"):
        path = Path("/proc/device-tree") / name
        about.append(path.read_bytes() if path.exists() else b"")
    key = hashlib.sha256(b"\0".join(about)).hexdigest()
    if key == before.get("key"):
        return before["lines"], key
    try:
        configured = yaml.safe_load((CONFIGURATION / "box.yaml").read_text())
    except yaml.YAMLError:
        configured = None
    board = configured.get("board") if isinstance(configured, dict) else None
    if not isinstance(board, str):
        found = json.loads(_said("board", "detect", "--json") or "{}")
        board = found.get("board") or next(iter(found.get("likely", [])), "sim")
    return _said("board", "config-txt", board).splitlines(), key


def _said(*arguments: str) -> str:
    try:
        return subprocess.run([GATEWAY, *arguments], stdout=subprocess.PIPE, text=True, timeout=300).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def write_lines(config: Path, lines: list[str]) -> bool:
    """Let config.txt have these lines between its marks, or none; whether it had others."""
    if not config.exists():
        return False
    text = config.read_text()
    new = with_lines(text, lines)
    if new == text:
        return False
    with card.writable(config.parent):
        card.put(config, new.encode())
    return True


def with_lines(text: str, lines: list[str]) -> str:
    """The text of config.txt with `lines`, marks included, in place of those between the marks."""
    kept, ours = [], False
    for line in text.splitlines():
        ours = ours or line.startswith(BEGIN)
        if not ours:
            kept.append(line)
        ours = ours and not line.startswith(END)
    return "".join(f"{line}\n" for line in [*kept, *lines])


def _update() -> str:
    path = SYSTEM / "update.json"
    return str(json.loads(path.read_text()).get("outcome", "")) if path.exists() else ""


_TAKE = (("secrets.yaml", _secrets), ("spectrophone.yaml", _gateway), ("system.yaml", _system))
"""In this order: the page's password is kept under the box's name."""


if __name__ == "__main__":
    main()
