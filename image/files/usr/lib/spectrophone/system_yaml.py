"""system.yaml: what the machine is told on its card. Every part may be left out; a fault in one leaves the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ZONES = Path("/usr/share/zoneinfo")
KEY = re.compile(r"(ssh-(ed25519|rsa|dss)|ecdsa-sha2-\S+|sk-\S+) [A-Za-z0-9+/=]{16,}( .*)?")


@dataclass(frozen=True, slots=True)
class Network:
    """A Wi-Fi network; `password` is "" for an open one, and stars for one that the box has taken over before."""

    ssid: str
    password: str = field(default="", repr=False)

    @property
    def taken(self) -> bool:
        """See is_taken."""
        return is_taken(self.password)


@dataclass(frozen=True, slots=True)
class System:
    """What system.yaml asks for; None, or nothing, where it does not say."""

    hostname: str | None = None
    timezone: str | None = None
    ssh_authorized_keys: tuple[str, ...] | None = None
    wifi: tuple[Network, ...] | None = None
    country: str | None = None
    page_password: str = field(default="", repr=False)
    """Stars for one that the box has taken over before, as in Network."""

    def passwords(self) -> set[str]:
        """All that are still to be read on the card."""
        found = {self.page_password, *(network.password for network in self.wifi or ())}
        return {password for password in found if password and not is_taken(password)}


def is_taken(password: str) -> bool:
    """Whether it is one that was taken over, and is stars on the card."""
    return bool(password) and set(password) == {"*"}


def read(text: str, zones: Path = ZONES) -> tuple[System, list[str]]:
    """What the text asks for, and its faults in sentences that name place, value and remedy."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        return System(), [f"system.yaml{place}: this is no YAML: {getattr(error, 'problem', None) or error}."]
    if found is None:
        return System(), []
    if not isinstance(found, dict):
        return System(), ["system.yaml: these are no settings. Write lines such as `hostname: box-1`."]
    values: dict[str, Any] = {}
    faults = []
    readers: dict[str, Callable[[Any], dict[str, Any]]] = {
        "hostname": _hostname,
        "timezone": lambda value: _timezone(value, zones),
        "ssh_authorized_keys": _keys,
        "wifi": _wifi,
        "page_password": _page_password,
    }
    for name, value in found.items():
        if name not in readers:
            faults.append(f"system.yaml: {name}: there is no such setting. Known: {', '.join(readers)}.")
        elif value is not None:
            try:
                values |= readers[name](value)
            except ValueError as error:
                faults.append(f"system.yaml: {name}: {error}")
    return System(**values), faults


def _hostname(value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", value, re.IGNORECASE):
        raise ValueError(f"{value!r} is no host name. Write letters, digits and hyphens, 63 at most.")
    return {"hostname": value}


def _timezone(value: Any, zones: Path) -> dict[str, Any]:
    known = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", value)
    if not known or not (zones / value).is_file():
        raise ValueError(f"there is no time zone {value!r}. Write one such as Europe/Berlin.")
    return {"timezone": value}


def _keys(value: Any) -> dict[str, Any]:
    keys = [value] if isinstance(value, str) else value
    if not isinstance(keys, list):
        raise ValueError("this is no list of keys. Write each as `- ssh-ed25519 AAAA... name`.")
    for key in keys:
        if not isinstance(key, str) or not KEY.fullmatch(key.strip()):
            raise ValueError(f"{str(key)[:24]!r} is no public key. Write the line of a file such as id_ed25519.pub.")
    return {"ssh_authorized_keys": tuple(key.strip() for key in keys)}


def _wifi(value: Any) -> dict[str, Any]:
    entries = [value] if isinstance(value, dict) else value
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("this is no list of networks. Write each as `- ssid: NAME` with `password:` below.")
    networks, country = [], None
    for entry in entries:
        if unknown := entry.keys() - {"ssid", "password", "country"}:
            raise ValueError(f"there is no {sorted(unknown, key=str)[0]!r}. Known: ssid, password, country.")
        networks.append(_network(entry))
        country = country or _country(entry.get("country"))
    return {"wifi": tuple(networks), "country": country}


def _network(entry: dict[str, Any]) -> Network:
    ssid = entry.get("ssid")
    if not isinstance(ssid, str) or not 1 <= len(ssid.encode()) <= 32:
        raise ValueError(
            f"{ssid!r} is no name of a network. Write 1 to 32 letters, in quotes if there are only digits."
        )
    network = Network(ssid, "" if entry.get("password") is None else str(entry["password"]))
    usual = re.fullmatch(r"[ -~]{8,63}|[0-9a-fA-F]{64}", network.password)
    if network.password and not usual and not network.taken:
        raise ValueError(f"the password of {ssid!r} has {len(network.password)} letters. It needs 8 to 63.")
    return network


def _country(value: Any) -> str | None:
    if value is False:  # what YAML makes of Norway's NO
        return "NO"
    if value is not None and not re.fullmatch(r"[A-Z]{2}", str(value)):
        raise ValueError(f"{value!r} is no country. Write two capital letters, such as DE.")
    return None if value is None else str(value)


def _page_password(value: Any) -> dict[str, Any]:
    password = str(value)
    if not isinstance(value, str | int) or "\n" in password or not 10 <= len(password) <= 256:
        raise ValueError(f"it has {len(password)} characters. It needs 10 to 256, in quotes, on one line.")
    return {"page_password": password}


def known_passwords(
    networks: tuple[Network, ...], before: tuple[Network, ...]
) -> tuple[tuple[Network, ...], list[str]]:
    """The networks with the passwords that were taken over `before` in place of stars, and who has none of them."""
    passwords = {network.ssid: network.password for network in before}
    found = tuple(Network(n.ssid, passwords[n.ssid]) if n.taken and n.ssid in passwords else n for n in networks)
    return tuple(network for network in found if not network.taken), [
        f"system.yaml: wifi: the password of {network.ssid!r} is stars, and was never taken over. Write it anew."
        for network in found
        if network.taken
    ]


def scrubbed(text: str, passwords: Iterable[str]) -> str:
    """The text with stars for passwords; all of it but comments is gone if one is not to be found there as it is."""
    for password in sorted(passwords, key=len, reverse=True):
        if password not in text:
            return "".join(f"{line}\n" for line in text.splitlines() if line.startswith("#"))
        text = text.replace(password, "*" * len(password))
    return text


def supplicant(networks: tuple[Network, ...], country: str | None) -> str:
    """wpa_supplicant's configuration; names of networks as hexadecimal numbers, so that any is right."""
    lines = ["ctrl_interface=/run/wpa_supplicant", *([f"country={country}"] if country else [])]
    for network in networks:
        lines += ["network={", f"  ssid={network.ssid.encode().hex()}", "  scan_ssid=1"]
        if len(network.password) == 64:
            lines.append(f"  psk={network.password}")
        elif network.password:
            lines += [f'  psk="{network.password}"', "  key_mgmt=WPA-PSK SAE", "  ieee80211w=1"]
        else:
            lines.append("  key_mgmt=NONE")
        lines.append("}")
    return "".join(f"{line}\n" for line in lines)
