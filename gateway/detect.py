"""Which board this machine is: the device tree's model, the HAT's EEPROM and the sound cards, against boards/.

A board fits if its models name this machine, and its HAT or its sound card is there. The strongest evidence decides:
the EEPROM, then the card by USB id, by name, by id, then any USB card at all. Two boards with the same evidence are a
question for the owner, not for a guess.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gateway import board as boards
from gateway.board import Board

ROOT = Path("/")
_CARD = re.compile(r"\s*(\d+) \[(\S+)\s*\]: (.*?) - (.*)")


@dataclass(frozen=True, slots=True)
class Card:
    """A sound card as ALSA lists it; `usb` is vendor:product, "" for a card that is not on USB."""

    index: int
    id: str
    driver: str
    name: str
    usb: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What this machine says of itself; "" for what it does not say."""

    model: str
    product: str
    vendor: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True)
class Detected:
    """The board that fits, None where none or more than one does; `likely` are those of this model, the best first.

    `reason` is one sentence, `remedy` what to do next, "" where nothing is to be done.
    """

    found: Found
    board: str | None
    likely: tuple[str, ...]
    reason: str
    remedy: str = ""


def detect(root: Path | None = None, files: Path | None = None) -> Detected:
    """Look at the machine whose files are below `root` (this one). Raises ConfigError for a faulty board file."""
    found = look(root or ROOT)
    known = [boards.load(name, files) for name in boards.names(files)]
    ours = [board for board in known if found.model.startswith(board.models or ("\0",))]
    longest = max((_named(board, found) for board in ours), default=0)
    ours = [board for board in ours if _named(board, found) == longest]
    if not ours:
        return _stranger(found, known)
    ranked = sorted(ours, key=lambda board: (-_evidence(board, found)[0], board.name))
    likely = tuple(board.name for board in ranked)
    rank, why = _evidence(ranked[0], found)
    if rank == 0:
        return _bare(found, ranked)
    rivals = [board.name for board in ranked if _evidence(board, found)[0] == rank]
    if len(rivals) > 1:
        reason = f"{', '.join(rivals)} fit this {found.model} equally ({why})"
        return Detected(found, None, likely, reason, f"Write one of them into the configuration: `board: {rivals[0]}`")
    return Detected(found, ranked[0].name, likely, f"{found.model}, and {why}", _missing(ranked[0], found))


def look(root: Path) -> Found:
    """What the files below `root` say; what is not there, or cannot be read, is empty."""
    tree = root / "proc/device-tree"
    return Found(
        _text(tree / "model"), _text(tree / "hat/product"), _text(tree / "hat/vendor"), _cards(root / "proc/asound")
    )


def _text(file: Path) -> str:
    try:
        return " ".join(file.read_bytes().decode("utf-8", "replace").replace("\0", " ").split())
    except OSError:
        return ""


def _cards(asound: Path) -> tuple[Card, ...]:
    try:
        lines = (asound / "cards").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    listed = [match for line in lines if (match := _CARD.match(line))]
    return tuple(
        Card(int(card[1]), card[2], card[3], card[4].strip(), _text(asound / f"card{card[1]}/usbid")) for card in listed
    )


def _named(board: Board, found: Found) -> int:
    """The length of the longest of the board's models that this machine's begins with."""
    return max(len(model) for model in board.models if found.model.startswith(model))


def _evidence(board: Board, found: Found) -> tuple[int, str]:
    """How strongly what was found speaks for the board, 0 for not at all, and what speaks for it."""
    if found.product and found.product.startswith(board.hat_products or ("\0",)):
        return 5, f"its HAT says '{found.product}'"
    card, rank = _card(board, found)
    if card is None:
        return 0, ""
    return rank, f"there is the sound card '{card.id}' ({card.name})"


def _card(board: Board, found: Found) -> tuple[Card | None, int]:
    """The card that the board listens with, and how surely it is that one."""
    asked = board.microphone
    for card in found.cards:
        if card.usb and card.usb in asked.usb:
            return card, 4
        if asked.card_name and card.name == asked.card_name:
            return card, 3
        if card.id == asked.card and not asked.card_name and not asked.usb:
            return card, 2
    usb = [card for card in found.cards if card.usb]
    return (usb[0], 1) if usb and "any" in asked.usb else (None, 0)


def _missing(board: Board, found: Found) -> str:
    """What is still to be done where the board fits."""
    card, _ = _card(board, found)
    if card is None:
        return (
            f"Its sound card is not there yet: put the lines of `spectrophone board config-txt {board.name}` into "
            "config.txt and restart the Pi"
        )
    if board.microphone.card is not None and card.id != board.microphone.card:
        return f'Write `acquisition: {{device: "hw:CARD={card.id},DEV=0"}}` into the configuration'
    return ""


def _stranger(found: Found, known: list[Board]) -> Detected:
    if not found.model:
        reason = "this machine has no device tree with a model, so it is no Raspberry Pi"
        return Detected(found, None, (), reason, "Write `board: sim`, or the name of a board, into the configuration")
    models = sorted({model for board in known for model in board.models})
    reason = f"no board file is for a {found.model}, only for {', '.join(models)}"
    return Detected(found, None, (), reason, "Write a board file for it (docs/boards.md)")


def _bare(found: Found, ours: list[Board]) -> Detected:
    heard = ", ".join(f"'{card.id}'" for card in found.cards)
    there = f"none of its sound cards ({heard}) is a board's" if heard else "no sound card was found"
    hat = f", and its HAT '{found.product}' is no board's" if found.product else ""
    reason = f"this is a {found.model}, but {there}{hat}"
    wanted = "; ".join(f"{board.name} has {_wants(board)}" for board in ours)
    remedy = (
        "Put the lines of `spectrophone board config-txt NAME` into config.txt, restart the Pi, or write `board: NAME`"
        f" into the configuration: {wanted}"
    )
    return Detected(found, None, tuple(board.name for board in ours), reason, remedy)


def _wants(board: Board) -> str:
    asked = board.microphone
    return "any USB card" if "any" in asked.usb else f"card '{asked.card}'" if asked.card else asked.device


def default() -> str:
    """The board that this machine is; on a Raspberry Pi that is not certainly one, the likeliest, which then says what
    it lacks, rather than simulated values; elsewhere the simulated one.
    """
    detected = detect()
    return detected.board or next(iter(detected.likely), "sim")
