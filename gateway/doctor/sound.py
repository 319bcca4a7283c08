"""The sound card, and a second of what the microphone hears."""

from __future__ import annotations

import math
import os
import re
import select
from pathlib import Path

import numpy as np

from drivers.alsa import Capture
from gateway.clock import Clock
from gateway.config.sections import Acquisition
from gateway.doctor.finding import CannotTellError, Said, missing, needless, ok, warning
from gateway.doctor.place import Place
from gateway.errors import DeviceError
from gateway.types import Samples

LISTEN_S, SETTLE_S, PATIENCE_S = 1.0, 0.2, 4.0
"""How long is listened; what is left out at the beginning, where converters and sound servers settle; how long it may
take."""
FULL_SCALE = 0.999
QUIET_DB = -110.0
"""Below this not even a microphone's own noise is heard: that of an ordinary one is near -95 dB of full scale."""
_CARD = re.compile(r"CARD=(\w+)|^(?:plug)?hw:(?!CARD=)(\w+)")
_PLUG = "Plug it in, or put the lines of `spectrophone board config-txt {}` into config.txt and restart the Pi"


def card(place: Place) -> Said:
    """Whether the card that the configured device names is there, and the one that plays the laser's modulation."""
    cards = place.detected.found.cards
    there = ", ".join(f"{each.id} ({each.name})" for each in cards)
    wanted = [place.listening.device or "default"]
    if place.board.laser and place.board.laser.playback:
        wanted.append(place.board.laser.playback)
    if not _alsa(wanted[0]):
        return needless(f"sound comes from {wanted[0]}" + (f"; there are {there}" if there else ""))
    for device in wanted:
        named = _CARD.search(device)
        name = (named[1] or named[2]) if named else None
        if name is not None and name not in {each.id for each in cards} | {str(each.index) for each in cards}:
            known = f"there are {there}" if there else "there is no sound card at all"
            return missing(f"there is no sound card '{name}' for {device}; {known}", _PLUG.format(place.board.name))
    barred = [
        path for path in sorted((place.root / "dev/snd").glob("controlC*")) if not os.access(path, os.R_OK | os.W_OK)
    ]
    if barred:
        return missing(f"{barred[0]} may not be opened by this user", "Put the gateway's user into group audio")
    if not cards:
        found = f"there is no sound card; {wanted[0]} can only be a sound server's"
        return warning(found, "Plug one in, unless a sound server has one elsewhere")
    return ok(there)


def microphone(place: Place) -> Said:
    """Whether it opens as configured, and what it hears; only looked at from afar while a gateway has it."""
    asked = place.listening
    device = asked.device or "default"
    if device.startswith("file:"):
        file = Path(device.removeprefix("file:"))
        return ok(device) if file.is_file() else missing(f"there is no recording {file}", "Correct acquisition.device")
    if not _alsa(device):
        return needless("the simulated cell is heard")
    if place.holder:
        return _of_gateway(place, device)
    if card(place).state == "missing":
        raise CannotTellError("not looked at, because its sound card is not there")
    try:
        sound = hear(asked, place.clock)
    except DeviceError as error:
        owner = _owner(place)
        if "busy" in error.message and owner:
            return missing(f"{device} is in use by {owner}", "End that, or give the gateway another device")
        raise
    what = f"{device}, {asked.rate_hz} Hz {asked.format}, {asked.channels} channel{'s' * (asked.channels > 1)}"
    return judged(what, sound)


def hear(asked: Acquisition, clock: Clock) -> Samples:
    """About a second of sound, float32 [frames, channels]; less where the device is slow. Raises DeviceError."""
    capture = Capture(asked.device or "default", asked.rate_hz, asked.format, asked.channels, asked.rate_hz // 20)
    try:
        end_ns = clock.monotonic_ns() + round(PATIENCE_S * 1e9)
        waiting = select.poll()
        for descriptor in capture.descriptors:
            waiting.register(descriptor, select.POLLIN)
        heard: list[Samples] = []
        frames = 0
        while frames < (SETTLE_S + LISTEN_S) * asked.rate_hz and clock.monotonic_ns() < end_ns:
            count, samples = capture.read()
            if count > 0:
                heard.append(samples)
                frames += count
            else:
                waiting.poll(100)
    finally:
        capture.close()
    settled = round(SETTLE_S * asked.rate_hz)
    return np.concatenate(heard)[settled:] if heard else np.empty((0, asked.channels), np.float32)


def judged(what: str, sound: Samples) -> Said:
    """What the sound of a device says of it."""
    if not len(sound):
        return missing(
            f"{what}: no sound comes", "Look at its clock (an I2S microphone needs its overlay), or its server"
        )
    levels = np.sqrt(np.mean(np.square(sound - sound.mean(axis=0), dtype=np.float64), axis=0))
    peak = float(np.abs(sound).max())
    names = "AB"[: sound.shape[1]]
    told = ", ".join(f"{name} {_decibels(level):.0f} dBFS" for name, level in zip(names, levels, strict=True))
    dead = [name for name, level in zip(names, levels, strict=True) if level == 0.0]
    if dead:
        remedy = "Look at its cable, and whether alsamixer (F4) has its input switched on"
        return missing(f"{what}: channel {' and '.join(dead)} gives digital silence ({told})", remedy)
    if peak >= FULL_SCALE:
        return warning(f"{what}: the sound clips ({told})", "Turn its gain down in alsamixer (F4)")
    if _decibels(float(levels.min())) < QUIET_DB:
        return warning(
            f"{what}: hardly anything is heard ({told})", "Look at its cable, and turn its gain up in alsamixer (F4)"
        )
    return ok(f"{what}: {told}, peak {_decibels(peak):.0f} dBFS")


def _alsa(device: str) -> bool:
    return device != "sim" and not device.startswith("file:")


def _of_gateway(place: Place, device: str) -> Said:
    if place.gateway is None:
        return ok(f"{device} belongs to {place.holder}")
    blocks, overruns, lost = (place.gateway[name] for name in ("blocks", "overruns", "lost_frames"))
    found = f"{device} belongs to {place.holder}: {blocks} blocks, {overruns} overruns, {lost} frames lost"
    if overruns or lost:
        return warning(found, "Take load off the machine; spectrophone status tells the slowest stage")
    return ok(found)


def _owner(place: Place) -> str:
    """The process that captures from a card, as /proc/asound tells; "" where nobody does."""
    for file in sorted(place.root.glob("proc/asound/card*/pcm*c/sub*/status")):
        found = re.search(r"owner_pid\s*:\s*(\d+)", place.text(str(file.relative_to(place.root))))
        if found:
            return f"process {found[1]} ({place.text(f'proc/{found[1]}/comm') or 'unknown'})"
    return ""


def _decibels(level: float) -> float:
    return 20.0 * math.log10(level) if level > 0.0 else -math.inf
