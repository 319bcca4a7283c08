"""The machine itself: clock, disk, journal, memory, heat and power."""

from __future__ import annotations

import os
from pathlib import Path

from gateway import design, machine
from gateway.doctor.finding import CannotTellError, Said, missing, needless, ok, warning
from gateway.doctor.place import Place
from gateway.errors import SpectrophoneError
from gateway.journal import schema
from gateway.journal.place import journal_file
from gateway.types import iso_utc

MB = 1_000_000
LEAST_MEMORY_MB, LEAST_DISK_MB = 150, 50
"""What the gateway may take of memory, and needs of disk whatever its journal does."""
HOT_C = 80.0
"""Where a Raspberry Pi begins to slow down."""


def clock(place: Place) -> Said:
    """Whether the time of day is known: every measurement has it."""
    synchronised = machine.clock_synchronised(place.root)
    if synchronised is None:
        raise CannotTellError("neither systemd-timesyncd nor the kernel says whether the clock is synchronised")
    if synchronised:
        return ok("synchronised")
    battery = "a battery clock" if (place.root / "dev/rtc0").exists() else "no battery clock"
    found = f"not synchronised, with {battery}: times of measurements may be wrong"
    return warning(found, "Run: timedatectl set-ntp true, and let UDP port 123 out")


def disk(place: Place) -> Said:
    """Room for the journal where it is kept, and how the card fares."""
    state = place.state
    there = next(path for path in (state, *state.parents) if path.is_dir())
    found = machine.disk(there)
    free_mb = found.free_bytes / MB
    about = f"{state}: {_size(free_mb)} free"
    if found.read_only:
        return missing(f"{state} lies on a read-only file system", "Mount a writable one there; see dmesg for errors")
    if not os.access(there, os.W_OK):
        remedy = f"Give it to the gateway's user, or set StateDirectory= in its unit (this is user {os.geteuid()})"
        return missing(f"{there} may not be written by this user", remedy)
    section = place.config.journal
    file = _journal(place)
    wanted_mb = max(LEAST_DISK_MB, section.max_mb - _bytes(file) / MB if file else 0.0)
    if free_mb < LEAST_DISK_MB:
        return missing(about, "Make room: old recordings and logs, or a larger card")
    if free_mb < wanted_mb:
        return warning(f"{about}, and the journal may grow by {_size(wanted_mb)}", "Make room, or lower journal.max_mb")
    return _worn(place, there, about)


def _worn(place: Place, there: Path, about: str) -> Said:
    """What the file system and the card say of their health."""
    device = there.stat().st_dev
    block = (place.root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    errors = place.text(f"sys/fs/ext4/{block.name}/errors_count")
    if errors.isdecimal() and int(errors):
        return warning(f"{about}; its file system has had {errors} errors", "Save the journal, and replace the card")
    for holder in (block, block.parent):
        life = place.text(str((holder / "device/life_time").relative_to(place.root)))
        if any(int(word, 16) >= 9 for word in life.split()):
            return warning(f"{about}; 80 % or more of the card's life is used", "Replace the card soon")
    written = place.text(f"sys/fs/ext4/{block.name}/lifetime_write_kbytes")
    return ok(about + (f"; {_size(int(written) / 1000)} written to it in its life" if written.isdecimal() else ""))


def journal(place: Place) -> Said:
    """The journal's file: ours, within its bounds, readable."""
    section, file = place.config.journal, _journal(place)
    if file is None:
        return needless("journal.enabled is false: what a server that is away misses is lost")
    try:
        if not file.exists():
            return ok(f"none yet: {file} comes with the first measurement")
        with file.open("rb") as opened:
            opened.read(1)
    except PermissionError:
        raise CannotTellError(f"{file} may not be read by this user") from None
    size_mb = _bytes(file) / MB
    try:
        connection = schema.read_only(file)
    except SpectrophoneError as error:
        return missing(error.message, "Move it away: the gateway then begins a new one")
    try:
        newest = connection.execute("SELECT time_ns FROM measurement ORDER BY id DESC LIMIT 1").fetchone()
    finally:
        connection.close()
    about = f"{file}: {_size(size_mb)} of at most {_size(section.max_mb)}"
    if size_mb > 1.2 * section.max_mb:
        return warning(about, "Start the gateway, which thins what is old")
    return ok(about + ("" if newest is None else f", newest measurement of {iso_utc(newest[0])}"))


def memory(place: Place) -> Said:
    """What is left for the gateway."""
    found = machine.memory(place.root)
    if found is None:
        raise CannotTellError("/proc/meminfo does not say what is free")
    free_mb, all_mb = found.free_bytes / MB, found.all_bytes / MB
    about = f"{_size(free_mb)} of {_size(all_mb)} are free"
    if free_mb < LEAST_MEMORY_MB and not place.holder:
        return warning(f"{about}, and the gateway may take {LEAST_MEMORY_MB} MB", "End what else runs here")
    return ok(about)


def heat(place: Place) -> Said:
    """The processor's temperature."""
    celsius = machine.cpu_temperature_c(place.root)
    if celsius is None:
        return needless("this machine does not tell its processor's temperature")
    if celsius >= HOT_C:
        return warning(f"the processor has {celsius:.0f} C", "Give it a heat sink or a fan")
    return ok(f"the processor has {celsius:.0f} C")


def power(place: Place) -> Said:
    """What the Pi's firmware says of voltage and speed, now and since the start."""
    troubles = machine.throttled(place.root)
    if troubles is None:
        said = place.ask(["vcgencmd", "get_throttled"]) or ""
        troubles = machine.troubles(said.strip().removeprefix("throttled="))
    if troubles is None:
        return needless("no Raspberry Pi firmware that would tell")
    if not troubles:
        return ok("the voltage has been good since the start")
    low = any("voltage" in words for words in troubles)
    remedy = "Take a better power supply and a short cable" if low else "Give the processor a heat sink or a fan"
    return warning(", ".join(troubles), remedy)


def _journal(place: Place) -> Path | None:
    """The journal's file; None where none is kept."""
    section = place.config.journal
    if not section.enabled:
        return None
    return journal_file(section, design.box_id(place.config), place.state)


def _bytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _size(megabytes: float) -> str:
    if megabytes < 1:
        return f"{megabytes * 1000:.0f} kB"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.3g} MB"
