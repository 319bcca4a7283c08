"""Which board this is, and whether its firmware was told what the board needs."""

from __future__ import annotations

from gateway import config_txt
from gateway.doctor.finding import Said, missing, ok, warning
from gateway.doctor.place import Place

FILES = ("boot/firmware/config.txt", "boot/config.txt")
"""Where Raspberry Pi OS has the firmware's configuration: now, and before bookworm."""


def board(place: Place) -> Said:
    """The board that is taken, why, and whether this machine is one."""
    chosen, detected, model = place.board, place.detected, place.detected.found.model
    named = isinstance(place.checked.document.get("board"), str)
    why = "as the configuration says" if named else f"because {detected.reason}"
    if chosen.simulated:
        if detected.likely:
            remedy = detected.remedy or f"Write `board: {detected.likely[0]}` into the configuration"
            return warning(f"{chosen.name}: values are simulated, although this is a {model}", remedy)
        return ok(f"{chosen.name}: everything is simulated, {why}")
    if not model.startswith(chosen.models):
        found = f"{chosen.name} is for a {chosen.models[0]}, and this is {'a ' + model if model else 'no Raspberry Pi'}"
        return missing(found, detected.remedy or "Write the name of another board into the configuration")
    if detected.board not in (None, chosen.name):
        remedy = f"Write `board: {detected.board}` into the configuration, or plug in what {chosen.name} listens with"
        return warning(f"{chosen.name}, {why}, but {detected.board} fits: {detected.reason}", remedy)
    return ok(f"{chosen.name}, {why}" + (f"; {detected.reason}" if named else ""))


def config_file(place: Place) -> Said:
    """The firmware's configuration against what the board needs."""
    wanted = [line for line in config_txt.text(place.board).splitlines() if not line.startswith("#")]
    name = place.board.name
    for path in FILES:
        text = place.text(path)
        if not text:
            continue
        there = [line.strip() for line in text.splitlines()]
        if lacking := [line for line in wanted if line not in there]:
            remedy = f"Run: spectrophone board config-txt {name} | sudo tee -a /{path}, and restart the Pi"
            return missing(f"/{path} lacks {', '.join(lacking)}", remedy)
        return ok(f"/{path} has all {len(wanted)} lines of {name}")
    remedy = f"Put what `spectrophone board config-txt {name}` prints where the firmware reads it"
    return warning(f"there is neither /{' nor /'.join(FILES)}", remedy)


def lines_of_the_dead(place: Place) -> Said:
    """Whether the kernel goes on driving the lines of a process that has died."""
    kept = [
        path.parts[-3]
        for path in sorted(place.root.glob("sys/module/*/parameters/persist_gpio_outputs"))
        if place.text(str(path.relative_to(place.root))) in ("Y", "1")
    ]
    if kept:
        found = f"{', '.join(kept)} goes on driving a line whose process has died, until somebody else makes it safe"
        return warning(found, "Write dtparam=strict_gpiod into config.txt, and restart the Pi")
    return ok("a line whose process has died is an input again")
