"""prove.py DIRECTORY WORK: an image, as image/build has made it, from its first start to an update that failed.

The machine is emulated, the firmware is modelled (machine.py), all else is what is on the card. Each line says ok or
FAIL, after how many seconds, and what. Half an hour; the exit status is 1 on any FAIL.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.image.box import describe
from tests.image.machine import Card, Failure, Machine

PASSWORD, WIFI, PAGE = "hunter2-mqtt-secret", "correct horse battery", "staple of the page"
BOX = "proof-1"
GATEWAY = "/opt/spectrophone/current/bin/spectrophone"
DOCTOR = f"cd / && runuser -u spectrophone -- {GATEWAY} doctor --json --config /etc/spectrophone/box.yaml"
VALID = "/opt/spectrophone/measuring 400 5"
COUNT = (
    "python3 -c \"import glob, sqlite3; d = sqlite3.connect('file:' + glob.glob('/var/lib/spectrophone/*.journal')[0]"
    " + '?mode=ro', uri=True); print(d.execute('pragma integrity_check').fetchone()[0],"
    " d.execute('select count(*) from measurement').fetchone()[0])\""
)


LOGIN = f"""python3 - <<'END'
import json, ssl, urllib.error, urllib.request
for password in ("{PAGE}", "another one"):
    body = json.dumps({{"password": password}}).encode()
    url, header = "https://localhost:8080/api/v1/session", {{"Content-Type": "application/json"}}
    try:
        asked = urllib.request.Request(url, body, header)
        print(urllib.request.urlopen(asked, context=ssl._create_unverified_context()).status)
    except urllib.error.HTTPError as error:
        print(error.code)
END"""


class Report:
    """What holds and what does not."""

    def __init__(self) -> None:
        self.failures = 0
        self._start = time.monotonic()

    def say(self, good: bool, what: str) -> None:
        """One line."""
        self.failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {time.monotonic() - self._start:5.0f} s  {what}", flush=True)

    def check(self, what: str, good: object, found: object = "") -> None:
        """One line with what was found."""
        self.say(bool(good), f"{what}{f': {found}' if found != '' else ''}"[:300])

    @contextlib.contextmanager
    def part(self, what: str) -> Iterator[None]:
        """What fails in the block is one line."""
        try:
            yield
        except (Failure, OSError, subprocess.CalledProcessError, ValueError, KeyError, IndexError) as error:
            self.say(False, f"{what}: {error}")


class Outside:
    """A broker outside, which wants a password, and all that it was told."""

    def __init__(self, work: Path, port: int) -> None:
        words, config = work / "passwords", work / "mosquitto.conf"
        words.touch()
        subprocess.run(["mosquitto_passwd", "-b", words, "box", PASSWORD], check=True)
        words.chmod(0o644)
        work.chmod(0o755)
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {words}\n")
        self._broker = subprocess.Popen(["mosquitto", "-c", config], stderr=subprocess.DEVNULL)
        time.sleep(1)
        self._heard = work / "heard"
        with self._heard.open("wb") as file:
            login = ["-h", "127.0.0.1", "-p", str(port), "-u", "box", "-P", PASSWORD]
            self._listener = subprocess.Popen(["mosquitto_sub", *login, "-v", "-t", "spectrophone/#"], stdout=file)

    def heard(self) -> list[str]:
        """All messages."""
        return self._heard.read_text(errors="replace").rpartition("\n")[0].splitlines()

    def until(self, wanted: Callable[[str], bool], since: int, patience_s: float = 300.0) -> str:
        """The first message after the first `since` that is wanted."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            for line in self.heard()[since:]:
                if wanted(line):
                    return line
            time.sleep(1)
        raise Failure(f"the broker has not heard it within {patience_s:g} s; the last: {self.heard()[-1:]}")

    def close(self) -> None:
        """End both."""
        for process in (self._listener, self._broker):
            process.terminate()
            process.wait()


def ppm(line: str) -> float | None:
    """The concentration, if the message is a valid one of our box."""
    topic, _, payload = line.partition(" ")
    if topic != f"spectrophone/{BOX}/measurement/co2_concentration":
        return None
    fields = json.loads(payload)
    return float(fields["value"]) if fields["valid"] and fields["unit"] == "ppm" else None


def windows(text: str) -> bytes:
    """A text as an editor of Windows saves it."""
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


def settings(card: Card, port: int, public: str) -> None:
    """What an owner writes onto the card."""
    mqtt = f"mqtt: {{host: 10.0.2.2, port: {port}, username: box, password: !secret mqtt_password, discovery: false}}\n"
    card.put("spectrophone.yaml", windows(f"box: {{id: {BOX}}}\n{mqtt}"))
    card.put("secrets.yaml", windows(f'mqtt_password: "{PASSWORD}"\n'))
    machine = f"hostname: {BOX}\ntimezone: Europe/Berlin\nssh_authorized_keys:\n  - {public}\n"
    page = f'page_password: "{PAGE}"\n'
    wifi = f'wifi:\n  - ssid: "Home"\n    password: "{WIFI}"\n    country: DE\n'
    card.put("system.yaml", windows(machine + page + wifi))


def altered(parts: Path, out: Path, version: str, commands: list[str]) -> Path:
    """An update from the partitions in `parts`, the system differing by what debugfs was told."""
    system, packed = parts / "changed.img", parts / "changed.img.zst"
    subprocess.run(["cp", "--sparse=always", parts / "system.img", system], check=True)
    (parts / "commands").write_text("".join(f"{command}\n" for command in commands))
    subprocess.run(["debugfs", "-w", "-f", parts / "commands", system], check=True, capture_output=True)
    subprocess.run(["zstd", "-q", "-1", "-f", "-T0", "--rm", system, "-o", packed], check=True)
    describe.bundle(out, version, {"boot": parts / "boot.img.zst", "system": packed}, 0)
    packed.unlink()
    return out


def updates(directory: Path, work: Path) -> tuple[Path, Path]:
    """A good update and a broken one: in the one os-release tells another version, in the other the gateway is gone."""
    (update,) = directory.glob("*.update")
    parts = work / "parts"
    parts.mkdir()
    with tarfile.open(update) as tar:
        tar.extractall(parts, filter="data")
    subprocess.run(["zstd", "-dq", "--long=27", "--rm", parts / "system.img.zst"], check=True)
    show = ["debugfs", "-R", "cat /usr/lib/os-release", parts / "system.img"]
    told = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    release = work / "os-release"
    release.write_text(re.sub(r'IMAGE_VERSION=".*"', 'IMAGE_VERSION="9.9.9"', told))
    good = ["rm /usr/lib/os-release", f"write {release} /usr/lib/os-release"]
    one = altered(parts, work / "good.update", "9.9.9", good)
    other = altered(parts, work / "broken.update", "6.6.6", ["rm /opt/spectrophone/current"])
    shutil.rmtree(parts)
    return one, other


def first_start(report: Report, machine: Machine, outside: Outside) -> dict[str, str]:
    """Everything that a first start has to do."""
    machine.until("true")
    report.check(
        "the box lets its owner in over SSH, by the key on the card", True, f"{machine.age_s():.0f} s after power-on"
    )
    state = machine.run("systemctl is-system-running --wait", timeout_s=600).out
    report.check("systemd", state == "running", f"{state}, {machine.age_s():.0f} s after power-on")
    failed = machine.run("systemctl --failed --no-legend --plain").out
    report.check("no unit has failed", not failed, failed)
    value = ppm(outside.until(lambda line: ppm(line) is not None, 0))
    report.check(
        "a broker outside, with a password, hears a plausible value", value and 300 < value < 500, f"{value} ppm"
    )
    root = machine.run("findmnt -no SOURCE,OPTIONS /; touch /usr/there; echo x >/etc/there").out
    report.check("the root is read-only", " ro," in f"{root}," and root.count("Read-only") == 2, " ".join(root.split()))
    names = machine.run(
        "hostname; date +%Z; cat /etc/machine-id; df -m --output=size /data | tail -n 1; ls /sys/class/net"
    ).out.split()
    report.check(
        "host name and time zone are the card's", names[0] == BOX and names[1] in ("CET", "CEST"), " ".join(names[:2])
    )
    report.check("data has grown to the card's end", int(names[3]) > 1000, f"{names[3]} MB")
    options = machine.run(
        "findmnt -no FSTYPE,OPTIONS /data; findmnt -no FSTYPE /var; findmnt -no SOURCE /var/lib/spectrophone"
    ).out
    report.check(
        "data is on a partition of its own",
        "errors=remount-ro" in options and "overlay" in options,
        " ".join(options.split()),
    )
    found = machine.run(DOCTOR, timeout_s=300).out
    isolation = next((line for line in found.splitlines() if '"isolation"' in line), found[-300:])
    report.check("doctor: isolation", "level A" in isolation, isolation)
    missing = [line for line in found.splitlines() if '"state": "missing"' in line]
    report.check("doctor: nothing is missing", not missing, "; ".join(missing))
    score = machine.run("systemd-analyze security --no-pager spectrophone.service | tail -n 1").out
    report.check("hardening", (number := re.search(r"(\d+\.\d)", score)) and float(number[1]) <= 3.0, score)
    told = machine.run("cat /boot/config/spectrophone-status.txt").out
    report.check(
        "the card tells what came of the settings",
        "without faults" in told and "taken over" in told,
        " | ".join(told.splitlines()),
    )
    report.check("passwords on the card are stars", "*" * len(WIFI) in machine.run("cat /boot/config/system.yaml").out)
    codes = machine.run(LOGIN, timeout_s=120).out.split()
    report.check("the page lets in who has the card's password, and nobody else", codes == ["200", "401"], codes)
    times = machine.run("systemd-analyze time --no-pager | head -n 1; systemd-analyze blame --no-pager | head -n 5").out
    print("     ", " | ".join(times.splitlines()), flush=True)
    return {
        "machine-id": names[2],
        "key": machine.run("cat /data/system/ssh_host_ed25519_key.pub || ssh-keyscan -t ed25519 localhost").out,
    }


def counted(machine: Machine) -> int:
    """Measurements in the journal, which is whole."""
    verdict, _, count = machine.until(COUNT).partition(" ")
    if verdict != "ok":
        raise Failure(f"the journal is damaged: {verdict}")
    return int(count)


def prove(report: Report, directory: Path, work: Path) -> None:
    """All starts, one after the other."""
    (image,) = directory.glob("*.img")
    key = work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner", "-f", key], check=True)
    card = Card(image, work / "card")
    port = 20000 + random.SystemRandom().randrange(10000)
    settings(card, port, key.with_suffix(".pub").read_text().strip())
    good, broken = updates(directory, work)
    outside = Outside(work, port)
    machines: list[Machine] = []

    def start(what: str) -> Machine:
        machine = Machine(card, key, work / f"console-{len(machines)}.log")
        machines.append(machine)
        print(f"      start {len(machines)}, {what}: system {machine.slot}", flush=True)
        return machine

    try:
        machine = start("the first")
        about = first_start(report, machine, outside)
        before = counted(machine)
        said = machine.run("spectrophone-update -", timeout_s=1800, stdin=good)
        report.check("an update is written", said.code == 0, said.out.replace("\r", "\n").splitlines()[-1])
        machine.ended()
        secrets = [word for word in (PASSWORD, WIFI, PAGE) if word.encode() in card.raw("bootconfig")]
        report.check("no secret is left on the card's first partition", not secrets, ", ".join(secrets))

        machine = start("the new system, on trial")
        report.check("the new system is started", machine.slot == "b", card.get("autoboot.txt").decode().split())
        machine.until("grep -q 9.9.9 /etc/os-release")
        report.check(
            "it lets the next start be the old one's", card.slot() == "a", f"{machine.age_s():.0f} s after power-on"
        )
        told = machine.until("grep '^Update.*stays' /boot/config/spectrophone-status.txt")
        report.check("it has proved itself", card.slot() == "b", told)
        state = machine.run("systemctl is-system-running --wait", timeout_s=600).out
        report.check("systemd", state == "running", state)
        after = machine.run(
            "cat /etc/machine-id; ssh-keygen -yf /data/system/ssh_host_ed25519_key >/dev/null && echo kept"
        ).out.split()
        rows = counted(machine)
        report.check(
            "data is kept: id, key, journal",
            after == [about["machine-id"], "kept"] and rows >= before,
            f"{before}, then {rows} measurements",
        )
        said = machine.run("spectrophone-update -", timeout_s=1800, stdin=broken)
        report.check("a broken update is written", said.code == 0, said.out.replace("\r", "\n").splitlines()[-1])
        machine.ended()

        machine = start("the broken system, on trial")
        report.check("the broken system is started", machine.slot == "a")
        machine.ended(900)
        report.check("it gives up by itself", True, f"{machine.age_s():.0f} s after power-on")

        machine = start("after the broken update")
        report.check("the old system is started", machine.slot == "b")
        heard = len(outside.heard())
        report.check("it measures", ppm(outside.until(lambda line: ppm(line) is not None, heard, 600)))
        told = machine.until("grep '^Update' /boot/config/spectrophone-status.txt")
        report.check("the card tells why", "6.6.6" in told and "back at the old one" in told, told)
        rows = counted(machine)
        machine.run("systemctl poweroff")
        machine.ended()

        faulty = card.get("spectrophone.yaml").decode("utf-8-sig").replace("\r\n", "\n") + "laser: {duty: 7}\n"
        card.put("spectrophone.yaml", windows(faulty))
        card.put("system.yaml", windows("hostname: no good\ntimezone: Europe/Berlin\n"))
        heard = len(outside.heard())
        machine = start("with faults in the settings")
        told = machine.until("cat /boot/config/spectrophone-status.txt && systemctl is-system-running --wait")
        report.check(
            "the card names the faults",
            "laser.duty" in told and "'no good' is no host name" in told,
            told.replace("\n", " | "),
        )
        report.check("systemd", told.endswith("running"), told.splitlines()[-1])
        status = machine.until(f"{GATEWAY} status --json")
        fields = json.loads(status.splitlines()[0])
        dark = fields["outputs"].get("laser")
        report.check(
            "the gateway runs with the laser dark, and names the fault",
            dark == "off" and "duty" in json.dumps(fields.get("configuration_faults", "")),
            f"{dark}; {fields.get('configuration_faults')}",
        )
        said = outside.until(lambda line: "duty" in line, heard, 60)
        report.check("over MQTT, too", said, said)

        machine.power_cut()

        settings(card, port, key.with_suffix(".pub").read_text().strip())
        cuts(report, card, key, work, 3)
    finally:
        for machine in machines:
            machine.power_cut()
        outside.close()


def cuts(report: Report, card: Card, key: Path, work: Path, number: int) -> None:
    """Start `number` times, with the plug pulled at random moments between, and look at the journal each time."""
    draw = random.SystemRandom()
    rows = 0
    for cut in range(1, number + 1):
        machine = Machine(card, key, work / f"console-cut-{cut}.log")
        try:
            machine.until("true")
            now = counted(machine)
            report.check(
                f"start {cut} with the plug pulled before: the journal is whole, and has what it had",
                now >= rows,
                f"{now} measurements",
            )
            rows = now
            if cut < number:
                machine.until(VALID)
                time.sleep(draw.uniform(0, 30))
        finally:
            machine.power_cut()


def main() -> int:
    """Prove it."""
    directory, work = Path(sys.argv[1]), Path(sys.argv[2])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    report = Report()
    with report.part("all of it"):
        prove(report, directory, work)
    print(f"{report.failures} failed" if report.failures else "all is well", flush=True)
    return min(report.failures, 1)


if __name__ == "__main__":
    sys.exit(main())
