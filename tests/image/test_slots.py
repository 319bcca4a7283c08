"""Which system the firmware starts, and when one is on trial."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.image.box import IMAGE, slots
from tests.image.box import update as updates

Autoboot = slots.Autoboot
LOCAL_TOP = IMAGE / "initramfs/local-top"


@pytest.mark.parametrize("normal", ["a", "b"])
@pytest.mark.parametrize("trial", ["a", "b"])
def test_a_text_is_read_as_it_was_written(normal, trial):
    autoboot = Autoboot(normal, trial)
    assert slots.parse(autoboot.text()) == autoboot


def test_all_texts_fit_one_sector_and_are_as_long():
    lengths = {len(Autoboot(normal, trial).text().encode()) for normal in "ab" for trial in "ab"}
    assert len(lengths) == 1
    assert lengths.pop() <= 512


@pytest.mark.parametrize(
    ("autoboot", "running", "tried"),
    [
        (Autoboot("a", "b"), "a", False),  # as flashed
        (Autoboot("a", "b"), "b", True),  # b was started once
        (Autoboot("b", "b"), "b", True),  # the same, and its initial file system could not write
        (Autoboot("b", "a"), "b", False),  # b has proved itself
    ],
)
def test_a_system_is_on_trial_until_it_has_proved_itself(autoboot, running, tried):
    assert autoboot.tried(running) is tried


@pytest.mark.parametrize(
    "text", ["", "[all]\nboot_partition=2\n", "[all]\nboot_partition=1\n[tryboot]\nboot_partition=3\n"]
)
def test_a_text_without_two_slots_is_refused(text):
    with pytest.raises(ValueError, match="autoboot"):
        slots.parse(text)


def test_the_kernels_command_line_names_the_slot():
    assert slots.running("ro spectrophone.slot=b quiet\n") == "b"
    with pytest.raises(ValueError, match="no two systems"):
        slots.running("ro quiet")


def test_the_text_is_written_in_place(tmp_path):
    path = tmp_path / "autoboot.txt"
    path.write_bytes(Autoboot("a", "b").text().encode())
    inode = path.stat().st_ino
    slots.write(path, Autoboot("b", "a"))
    assert path.read_bytes() == Autoboot("b", "a").text().encode()
    assert path.stat().st_ino == inode


def test_a_longer_file_is_noticed(tmp_path):
    path = tmp_path / "autoboot.txt"
    path.write_bytes(Autoboot("a", "b").text().encode() + b"# mine\r\n")
    with pytest.raises(OSError, match="could not be written"):
        slots.write(path, Autoboot("b", "a"))


@pytest.mark.parametrize(
    ("own", "before", "after"),
    [
        ("b", Autoboot("b", "b"), Autoboot("a", "b")),
        ("a", Autoboot("a", "a"), Autoboot("b", "a")),
        ("b", Autoboot("b", "a"), Autoboot("b", "a")),
        ("a", Autoboot("a", "b"), Autoboot("a", "b")),
        ("b", Autoboot("a", "b"), Autoboot("a", "b")),
    ],
)
def test_the_initial_file_system_lets_a_new_system_start_once(tmp_path, own, before, after):
    """The script itself, with the card in a directory: what it asks of the machine is put in its place."""
    (tmp_path / "autoboot.txt").write_bytes(before.text().encode())
    script = (
        LOCAL_TOP.read_text()
        .replace("/run/bootconfig", str(tmp_path))
        .replace("/dev/disk/by-partlabel/bootconfig", "/")
    )
    script = re.sub(r"\$\(cat /proc/cmdline\)", f"ro spectrophone.slot={own} quiet", script)
    script = re.sub(r"^(mount|umount) .*?( \|\| .*)?$", "", script, flags=re.MULTILINE)
    subprocess.run(["sh", "-c", script], check=True, stdout=subprocess.DEVNULL)
    assert (tmp_path / "autoboot.txt").read_bytes() == after.text().encode()


def test_the_kernels_command_line_is_made_the_slots_own():
    line = "console=tty0 root=PARTLABEL=system_a ro spectrophone.slot=a\n"
    assert updates.for_slot(line, "b") == "console=tty0 root=PARTLABEL=system_b ro spectrophone.slot=b\n"
    assert updates.for_slot(updates.for_slot(line, "b"), "a") == line


def test_a_boot_partition_gets_slot_and_board(tmp_path):
    new, current = tmp_path / "new", tmp_path / "current"
    for directory in (new, current):
        directory.mkdir()
    (new / "cmdline.txt").write_text("root=PARTLABEL=system_a spectrophone.slot=a\n")
    (new / "config.txt").write_text("arm_64bit=1\n")
    lines = "# spectrophone begin: made\ndtparam=i2c_arm=on\n# spectrophone end\n"
    Path(current / "config.txt").write_text("arm_64bit=0\n" + lines)
    updates.own(new, "b", current)
    assert (new / "cmdline.txt").read_text() == "root=PARTLABEL=system_b spectrophone.slot=b\n"
    assert (new / "config.txt").read_text() == "arm_64bit=1\n" + lines
