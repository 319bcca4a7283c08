"""A configuration checked as a whole, without touching hardware, network or the customer's code.

Each section is checked by its own declaration; here stand the rules between them. They look at the document
itself rather than at finished settings, so that one bad option does not hide the faults of another: all are
told at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from gateway import board as boards
from gateway.board import Board
from gateway.config.config import Config, complete, config_model
from gateway.config.document import Document, by_place, parse, read
from gateway.config.redact import redact, secrets_in
from gateway.config.sections import Acquisition, Laser
from gateway.config.settings import Settings
from gateway.config.validate import validate
from gateway.config.wiring import Kinds, wiring_faults
from gateway.errors import ConfigError, Fault

Extra = Callable[[Config, Board], Iterable[Fault]]
_Section = TypeVar("_Section", bound=Settings)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. `config` and `board` are both there exactly if there are no faults.

    `secrets` is what no message may show.
    """

    config: Config | None
    board: Board | None
    faults: tuple[Fault, ...]
    document: Document
    secrets: frozenset[str]


def check(
    path: Path | None,
    kinds: Kinds,
    environ: Mapping[str, str],
    extra: Sequence[Extra] = (),
    default_board: str = "sim",
    without: Collection[str] = (),
    text: str | None = None,
) -> Checked:
    """The configuration in a file (None: the built-in one) and all its faults, in the order of their lines.

    `kinds` are the node types with their settings. `extra` are further checks of a configuration that is
    right so far; their faults need a `loc` only. `default_board` is taken where the configuration names none. The
    sections `without` are as if they were not written. With `text` that is checked, as if it stood in the file.
    """
    if path is None:
        written = parse(text or "", "", environ)
    elif text is None:
        written = read(path, environ)
    else:
        written = parse(text, str(path), environ, path.with_name("secrets.yaml"))
    document = _completed(written.without(without) if without else written, default_board)
    config, found = validate(document, config_model(kinds))
    faults = list(found)
    board: Board | None = None
    if () not in document.broken:
        board, board_faults = _board(document, faults, default_board)
        faults += [*board_faults, *wiring_faults(document, kinds), *_across(document, faults, board)]
    if config is not None and board is not None and not faults:
        faults += [_placed(document, fault) for further in extra for fault in further(config, board)]
    secrets = document.secrets | secrets_in(config)
    told = by_place(_masked(fault, secrets) for fault in faults)
    return Checked(None if told else config, None if told else board, told, document, secrets)


def _completed(document: Document, default_board: str) -> Document:
    """The document with what it leaves out, fitted to its board."""
    try:
        board = boards.load(str(document.get("board") or default_board))
    except ConfigError:
        return complete(document)
    outputs = [*(f"relay {name}" for name in board.relays), *(f"led {name}" for name in board.leds)]
    channels = document.get("acquisition", "channels") or board.microphone.channels
    return complete(document, channels == 1, outputs)


def acquisition(config: Config, board: Board) -> Acquisition:
    """How to listen: what the configuration says, and the board's own way where it says nothing."""
    return _with_board(config.acquisition, board)


def _with_board(given: Acquisition, board: Board) -> Acquisition:
    own = board.microphone.model_dump(include={"device", "format", "channels", "rate_hz"})
    return Acquisition.model_validate({**own, **given.model_dump(exclude_unset=True, exclude_none=True)})


def _board(document: Document, faults: Sequence[Fault], default: str) -> tuple[Board | None, list[Fault]]:
    if any(fault.loc == ("board",) for fault in faults):
        return None, []
    try:
        return boards.load(document.get("board") or default), []
    except ConfigError as error:
        return None, [_placed(document, fault) for fault in error.faults]


def _across(document: Document, faults: Sequence[Fault], board: Board | None) -> Iterator[Fault]:
    yield from _names_of_rules(document)
    yield from _pair_of_files(document)
    given = _section(document, faults, "acquisition", Acquisition)
    if given is None:
        return
    sound = _with_board(given, board) if board else given
    laser = _section(document, faults, "laser", Laser)
    if laser is not None and laser.frequency_hz >= sound.rate_hz / 2:
        message = f"{laser.frequency_hz:g} Hz cannot be heard at {sound.rate_hz} samples per second"
        remedy = f"Give less than half the rate, {sound.rate_hz / 2:g} Hz, or raise acquisition.rate_hz"
        yield document.fault(("laser", "frequency_hz"), message, remedy)
    if sound.block_ms * sound.rate_hz % 1000:
        step = 1000 // math.gcd(1000, sound.rate_hz)
        message = f"{sound.block_ms} ms at {sound.rate_hz} Hz are not a whole number of frames"
        yield document.fault(("acquisition", "block_ms"), message, f"Give a multiple of {step} ms")
    if board is not None and given.device is None:
        yield from _codec(document, sound, board)


def _codec(document: Document, sound: Acquisition, board: Board) -> Iterator[Fault]:
    codec = board.microphone
    if sound.format not in codec.formats:
        message = f"the codec of board '{board.name}' has no {sound.format}"
        yield document.fault(("acquisition", "format"), message, f"Take one of {', '.join(codec.formats)}")
    if sound.rate_hz > codec.rate_max_hz:
        message = f"the codec of board '{board.name}' does not reach {sound.rate_hz} Hz"
        yield document.fault(("acquisition", "rate_hz"), message, f"Give at most {codec.rate_max_hz} Hz")


def _names_of_rules(document: Document) -> Iterator[Fault]:
    rules = document.get("rules")
    seen: dict[str, int] = {}
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        option = "name" if rule.get("name") is not None else "when"
        loc = ("rules", index, option)
        name = rule.get(option)
        if not isinstance(name, str) or document.is_broken(loc):
            continue
        name = " ".join(name.split())
        line = document.place(loc)[1]
        if name in seen:
            message = f"two rules have the {option} '{name}', on lines {seen[name]} and {line}"
            yield document.fault(loc, message, "Give each rule a name of its own")
        seen.setdefault(name, line)


def _pair_of_files(document: Document) -> Iterator[Fault]:
    tls = document.get("mqtt", "tls")
    if isinstance(tls, dict):
        for one, other in (("certificate", "key"), ("key", "certificate")):
            if tls.get(one) is not None and tls.get(other) is None:
                message = f"'{one}' is given without '{other}'"
                yield document.fault(("mqtt", "tls", one), message, f"Add `{other}: ...`, or take '{one}' out")


def _section(document: Document, faults: Sequence[Fault], name: str, model: type[_Section]) -> _Section | None:
    """A section that is right by itself; None where it has faults."""
    if any(fault.loc[:1] == (name,) for fault in faults):
        return None
    try:
        return model.model_validate(document.get(name) or {})
    except ValidationError:
        return None


def _placed(document: Document, fault: Fault) -> Fault:
    if fault.line or fault.file:
        return fault
    file, line, column = document.place(fault.loc)
    return replace(fault, file=file, line=line, column=column)


def _masked(fault: Fault, secrets: frozenset[str]) -> Fault:
    return replace(fault, message=redact(fault.message, secrets), remedy=redact(fault.remedy, secrets))
