"""The service that takes settings from the card, its machine being a directory."""

import json
import os
import subprocess
from contextlib import nullcontext

import pytest

from tests.image.box import IMAGE, card, settings, slots

LINES = [
    "# spectrophone begin: made by `spectrophone board config-txt rpi4-usb`",
    "dtparam=i2c_arm=on",
    "# spectrophone end",
]


@pytest.fixture
def box(tmp_path, monkeypatch):
    """The places of a box below `tmp_path`, a gateway that finds one fault, and no right to mount anything."""
    for name in ("card", "system", "etc", "firmware"):
        (tmp_path / name).mkdir()
    (tmp_path / "card/autoboot.txt").write_text(slots.Autoboot("a", "b").text())
    (tmp_path / "firmware/config.txt").write_text("arm_64bit=1\n")
    (tmp_path / "etc/box.yaml").write_text("")
    gateway = tmp_path / "gateway"
    detected = json.dumps({"board": None, "likely": ["rpi4-usb"]})
    gateway.write_text(
        "#!/bin/sh\ncase $1$2 in\n"
        'check*) grep -q wrong "$2" && { echo "$2:1:1: wrong: unknown option"; exit 2; }; exit 0 ;;\n'
        f"webpassword) read word; echo $word >>{tmp_path}/password\n"
        '    [ "$word" != refused-one ] || { echo no >&2; exit 2; } ;;\n'
        f"boarddetect) echo '{detected}' ;;\nboardconfig-txt) [ $3 = sim ] || cat {tmp_path}/lines ;;\nesac\n"
    )
    gateway.chmod(0o755)
    (tmp_path / "lines").write_text("".join(f"{line}\n" for line in LINES))
    places = {"SYSTEM": "system", "CONFIGURATION": "etc", "FIRMWARE": "firmware", "GATEWAY": "gateway"}
    for name, place in {**places, "CARD": "card", "TAKEN": "system/settings.json"}.items():
        monkeypatch.setattr(settings, name, tmp_path / place)
    monkeypatch.setattr(card, "CARD", tmp_path / "card")
    monkeypatch.setattr(settings, "TEMPLATES", IMAGE / "card")
    monkeypatch.setattr(card, "writable", lambda mounted=None: nullcontext())
    monkeypatch.setattr(settings.slots, "running", lambda cmdline: "a")
    monkeypatch.setattr(settings.grp, "getgrnam", lambda name: type("Group", (), {"gr_gid": os.getgid()}))
    monkeypatch.setattr(settings.socket, "sethostname", lambda name: (tmp_path / "hostname").write_text(name))
    monkeypatch.setattr(card, "put", lambda path, data, mode=0o644, group=None, put=card.put: put(path, data, mode))
    asked: list[list[object]] = []
    run = subprocess.run

    def ask(command, **how):
        asked.append(command)
        if command[0] == "runuser":
            assert command[1:4] == ["-u", "spectrophone", "--"]
            command = command[4:]
        return run(["true"] if command[0] == "systemctl" else command, **how)

    monkeypatch.setattr(settings.subprocess, "run", ask)
    return tmp_path, asked


def told(place):
    return (place / "card" / card.STATUS).read_bytes().decode().split("\r\n")


def test_all_of_it(box):
    place, asked = box
    (place / "card/spectrophone.yaml").write_bytes(b"\xef\xbb\xbfbox: {id: a}\r\n")
    (place / "card/secrets.yaml").write_bytes(b"mqtt_password: hunter2\r\n")
    (place / "card/system.yaml").write_bytes(b"hostname: box-1\r\nwifi: [{ssid: Home, password: 12345678}]\r\n")
    settings.main()
    assert (place / "etc/box.yaml").read_bytes() == b"box: {id: a}\n"
    assert (place / "etc/secrets.yaml").read_bytes() == b"mqtt_password: hunter2\n"
    assert (place / "etc/secrets.yaml").stat().st_mode & 0o777 == 0o640
    assert (place / "system/hostname").read_text() == "box-1\n"
    assert (place / "hostname").read_text() == "box-1"
    assert "12345678" in (place / "system/wpa_supplicant.conf").read_text()
    assert (place / "system/wpa_supplicant.conf").stat().st_mode & 0o777 == 0o600
    assert b"hunter2" not in (place / "card/secrets.yaml").read_bytes()
    assert b"password: ********}]\r\n" in (place / "card/system.yaml").read_bytes()
    words = "\n".join(told(place))
    assert "secrets.yaml: taken over and wiped off the card: mqtt_password." in words
    assert "spectrophone.yaml: taken over, without faults." in words
    assert "the box is called box-1" in words
    assert "hunter2" not in words
    assert "12345678" not in words
    assert ["systemctl", "--no-block", "reboot"] in asked


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("a few words", "system.yaml: the page's password is set."),
        ("refused-one", "system.yaml: page_password: it is not set; write it anew: no"),
    ],
)
def test_the_pages_password_is_set_once_and_becomes_stars(box, word, says):
    place, _ = box
    (place / "card/system.yaml").write_text(f'page_password: "{word}"\n')
    settings.main()
    settings.main()
    assert (place / "password").read_text() == f"{word}\n"
    assert (place / "card/system.yaml").read_bytes() == b'page_password: "***********"\r\n'
    assert says in told(place)
    assert not any(word in line for line in told(place))


def test_what_was_taken_is_not_taken_again(box):
    place, asked = box
    (place / "card/spectrophone.yaml").write_text("box: {id: a}\n")
    (place / "card/secrets.yaml").write_text("mqtt_password: hunter2\n")
    settings.main()
    before = told(place)
    (place / "etc/box.yaml").write_text("box: {id: changed-on-the-box}\n")
    asked.clear()
    settings.main()
    assert (place / "etc/box.yaml").read_text() == "box: {id: changed-on-the-box}\n"
    assert "hunter2" in (place / "etc/secrets.yaml").read_text()
    assert told(place) == before
    assert ["systemctl", "--no-block", "reboot"] not in asked
    (place / "card/spectrophone.yaml").write_text("box: {id: b}\n")
    settings.main()
    assert (place / "etc/box.yaml").read_text() == "box: {id: b}\n"


def test_a_fault_is_told_and_the_rest_is_taken(box):
    place, _ = box
    (place / "card/spectrophone.yaml").write_text("wrong: 1\n")
    (place / "card/system.yaml").write_text("hostname: a_b\ntimezone: UTC\n")
    (place / "card/secrets.yaml").write_bytes(b"\xff\x00\xff")
    settings.main()
    words = told(place)
    assert "spectrophone.yaml:1:1: wrong: unknown option" in words
    assert any("'a_b' is no host name" in line for line in words)
    assert "secrets.yaml: this is no text in UTF-8, so it was not taken. Save it as UTF-8." in words
    assert (place / "etc/box.yaml").read_text() == "wrong: 1\n"
    assert (place / "system/localtime").is_symlink()


@pytest.mark.parametrize("text", ["[", "- a\n", "a: [1]\n"])
def test_secrets_with_a_fault_stay_where_they_are(box, text):
    place, _ = box
    (place / "card/secrets.yaml").write_text(text)
    settings.main()
    assert (place / "card/secrets.yaml").read_text() == text
    assert not (place / "etc/secrets.yaml").exists()
    assert any(line.startswith("secrets.yaml") for line in told(place))


def test_the_board_that_the_settings_name_is_the_firmwares(box):
    place, asked = box
    (place / "card/spectrophone.yaml").write_text("board: sim\n")
    settings.main()
    assert (place / "firmware/config.txt").read_text() == "arm_64bit=1\n"
    assert ["systemctl", "--no-block", "reboot"] not in asked
    (place / "card/spectrophone.yaml").write_text("board: rpi4-usb\n")
    settings.main()
    assert (place / "firmware/config.txt").read_text() == "arm_64bit=1\n" + "".join(f"{line}\n" for line in LINES)
    assert ["systemctl", "--no-block", "reboot"] in asked


def test_a_system_on_trial_does_not_start_anew(box):
    place, asked = box
    (place / "card/autoboot.txt").write_text(slots.Autoboot("b", "a").text())
    settings.main()
    assert LINES[1] in (place / "firmware/config.txt").read_text()
    assert ["systemctl", "--no-block", "reboot"] not in asked


def test_the_boards_lines_are_put_in_the_place_of_others():
    text = "a=1\n# spectrophone begin: of another\nold=1\n# spectrophone end\nb=2\n"
    assert settings.with_lines(text, LINES) == "a=1\nb=2\n" + "".join(f"{line}\n" for line in LINES)
    assert settings.with_lines(settings.with_lines(text, LINES), LINES) == settings.with_lines(text, LINES)
    assert settings.with_lines(text, []) == "a=1\nb=2\n"


def test_what_is_written_over_is_not_left_behind(tmp_path):
    path = tmp_path / "secrets.yaml"
    path.write_bytes(b"mqtt_password: hunter2\n")
    card.overwrite(path, b"# none\n")
    assert path.read_bytes() == b"# none\n"
