"""What Home Assistant was told, kept in a file, so that what is no longer there is taken back.

Home Assistant keeps an entity that a new message only leaves out: it wants the component once as nothing but its
platform. And it takes back only what it was told since its own start, so that a removal while it was away leaves a
ghost. So what is gone is announced once more as it was, then as its platform only, then left out; at every connect and
until Home Assistant itself has started since. A box under another name goes the same way: its old message, then an
empty one on the same topic. Retained topics that nobody writes any more are emptied at the broker.

The file belongs to a configuration file, whatever the box is called in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gateway import atomic

log = logging.getLogger("spectrophone.mqtt")

Step = tuple[str, Mapping[str, Any] | None]
"""A topic, and the JSON message for it; None empties it."""
_FORMAT = 1


def registry_file(state: Path, box: str, configuration: Path | None) -> Path:
    """Where it is kept in the state directory: by the configuration's path, else by the box's name."""
    about = box if configuration is None else str(configuration.resolve())
    return state / f"discovery-{hashlib.sha256(about.encode()).hexdigest()[:12]}.json"


class Registry:
    """What was published, and what has to be taken back."""

    def __init__(self, text: str = "") -> None:
        """From the file's text; a new one where that is none. Raises ValueError for a text that is broken."""
        data = _checked(json.loads(text)) if text else {}
        self.decimals: dict[str, int] = data.get("decimals", {})
        """Of each gas, by node."""
        self._topic: str = data.get("topic", "")
        self._payload: dict[str, Any] = data.get("payload", {})
        self._retained: list[str] = data.get("retained", [])
        self._gone: dict[str, Any] = data.get("gone", {})
        self._left: dict[str, Any] = data.get("left", {})
        self._stale: list[str] = data.get("stale", [])
        self._taken_back: bool = data.get("taken_back", False)

    def text(self) -> str:
        """For the file."""
        data = {
            "format": _FORMAT,
            "topic": self._topic,
            "payload": self._payload,
            "retained": self._retained,
            "gone": self._gone,
            "left": self._left,
            "stale": self._stale,
            "taken_back": self._taken_back,
            "decimals": self.decimals,
        }
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False)

    def announce(self, topic: str, payload: Mapping[str, Any], retained: Collection[str], *, born: bool) -> list[Step]:
        """What is to be sent so that Home Assistant knows `payload`, and nothing else of this box; "" as the topic: it
        is to know nothing. `retained` are the topics that the box keeps at the broker; `born`: Home Assistant has just
        started.
        """
        if self._taken_back:
            self._gone, self._left, self._stale, self._taken_back = {}, {}, [], False
        if self._topic and self._topic != topic:
            self._left[self._topic] = {**self._payload, "cmps": {**self._payload["cmps"], **self._gone}}
            self._gone = {}
        elif self._topic:
            before, now = self._payload["cmps"], payload["cmps"]
            self._gone |= {key: was for key, was in before.items() if _platform(now, key) != was["p"]}
        self._gone = {key: was for key, was in self._gone.items() if _platform(payload["cmps"], key) != was["p"]}
        self._left.pop(topic, None)
        self._stale = sorted({*self._stale, *self._retained} - {*retained})
        self._topic, self._payload, self._retained = topic, dict(payload), sorted(retained)
        self._taken_back = born
        return self._steps()

    def _steps(self) -> list[Step]:
        steps: list[Step] = []
        for topic, payload in self._left.items():
            steps += [(topic, payload), (topic, None)]
        if self._topic:
            components = self._payload["cmps"]
            if self._gone:
                platforms = {key: {"p": was["p"]} for key, was in self._gone.items()}
                steps += [(self._topic, {**self._payload, "cmps": {**components, **self._gone}})]
                steps += [(self._topic, {**self._payload, "cmps": {**components, **platforms}})]
            steps.append((self._topic, self._payload))
        return [*steps, *((topic, None) for topic in self._stale)]


class RegistryFile:
    """The registry's file, written in a thread; nothing is kept without one."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._text = ""
        self._writing: asyncio.Task[None] | None = None

    def load(self) -> Registry:
        """The registry in it; a new one where there is none, or a broken one."""
        try:
            return Registry(self._file.read_text("utf-8")) if self._file else Registry()
        except FileNotFoundError:
            return Registry()
        except (OSError, ValueError, RecursionError) as error:
            log.warning(
                "%s: it is not known what Home Assistant was told before, and written anew: %s", self._file, error
            )
            return Registry()

    def keep(self, text: str) -> None:
        """Write it, soon; on the event loop's thread."""
        self._text = text
        if self._file is not None and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write(self._file), name="registry")

    async def close(self) -> None:
        """Wait until it is written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def _write(self, file: Path) -> None:
        while self._text:
            text, self._text = self._text, ""
            try:
                await asyncio.to_thread(_replace, file, text)
            except OSError as error:
                log.warning("%s: what Home Assistant was told cannot be kept: %s", file, error.strerror or error)


def _replace(file: Path, text: str) -> None:
    file.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    atomic.write(file, text)


def _platform(components: Mapping[str, Any], key: str) -> str | None:
    component = components.get(key)
    return None if component is None else component["p"]


def _checked(data: Any) -> dict[str, Any]:
    """The file's data. Raises ValueError where they are not what this software writes."""
    kinds = {"topic": str, "payload": dict, "retained": list, "gone": dict, "left": dict, "stale": list}
    if not isinstance(data, dict) or data.get("format") != _FORMAT:
        raise ValueError("it is no registry of this version")
    for name, kind in {**kinds, "taken_back": bool, "decimals": dict}.items():
        if not isinstance(data.get(name), kind):
            raise ValueError(f"{name} is missing or broken")
    whole = [data["payload"], *data["left"].values()] if data["topic"] else [*data["left"].values()]
    components = [data["gone"], *(payload.get("cmps") if isinstance(payload, dict) else None for payload in whole)]
    for each in components:
        if not isinstance(each, dict) or not all(isinstance(c, dict) and "p" in c for c in each.values()):
            raise ValueError("its components are broken")
    if not all(isinstance(topic, str) for topic in [*data["retained"], *data["stale"]]):
        raise ValueError("its topics are broken")
    if not all(isinstance(number, int) for number in data["decimals"].values()):
        raise ValueError("its decimals are broken")
    return data
