"""`python -m tests.image.role`: the role over SSH, on two fresh Debians with systemd; a line for what it should do.

SPECTROPHONE_IMAGE names the cache (default /var/tmp/spectrophone-image): role-kernel-*, role-base-* and role-ansible-*,
each named for what it was made from, and role-log, what was said in the last run. It needs root, for chroots.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.image.role.guests import Guest, boot
from tests.image.role.proof import (
    ANSIBLE,
    CONFIGURATION,
    PROJECT,
    Proof,
    changed,
    counts,
    heard,
    measures,
    release,
    sentence,
    wheel,
)

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("SPECTROPHONE_IMAGE", "/var/tmp/spectrophone-image"))
LOG = CACHE / "role-log"
PORTS = (22, 8080, 8883, 9999)
DARK = "processing: {default_graph: {nodes: [{id: input, type: input}, {id: loud, type: level}]}}\n"


def cached(name: str, sources: list[Path], *commands: str) -> Path:
    """A directory of the cache that `commands` make from `sources`, if it is not there; {} in them is its name."""
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in sources) + "".join(commands).replace(str(HERE), "").encode()
    ).hexdigest()
    directory = CACHE / f"role-{name}-{digest[:12]}"
    if not directory.exists():
        print(f"building {directory} (minutes, once); what it says is in {LOG}/{name}.log", flush=True)
        part = directory.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        with (LOG / f"{name}.log").open("wb") as log:
            for command in commands:
                done = subprocess.run(["nice", *command.format(part).split()], stdout=log, stderr=log, check=False)
                if done.returncode:
                    sys.exit(f"could not build it: see {LOG}/{name}.log")
        part.rename(directory)
    return directory


def releases(proof: Proof, one: Guest, two: Guest, work: Path) -> None:
    """From a fresh machine to a box, and what comes after: the same again, better, worse."""
    first = wheel(work / "first")
    broken = changed(first, work / "broken", "gateway/loop.py", "\nraise SystemExit('broken on purpose')\n")
    better = changed(first, work / "better", "gateway/loop.py", "\n# better\n")
    best = changed(first, work / "best", "gateway/loop.py", "\n# best\n")
    with proof.told("a fresh machine becomes a box that measures, started anew for the firmware's lines"):
        code, said = proof.play("site.yml", "--limit=canary", spectrophone_wheel=str(first))
        assert code == 0, said[-2000:]
        assert int(one.ssh("cut -d. -f1 /proc/uptime")) < 300
        assert "cgroup_enable=memory" in one.ssh("cat /boot/firmware/cmdline.txt")
        proof.note(f"{measures(one)}; {counts(said)}")
    with proof.told("a second run changes nothing"):
        code, said = proof.play("site.yml", "--limit=canary", spectrophone_wheel=str(first))
        assert counts(said) == {"box-1": (0, 0)}, said[-2000:]
        assert code == 0
    good, settings = release(one), one.ssh("cat /etc/spectrophone/box.yaml")
    with proof.told("a release that does not run goes back by itself, and the play ends before the other box"):
        code, said = proof.play("site.yml", spectrophone_wheel=str(broken))
        proof.note(sentence(said))
        assert code != 0
        assert "It is back at release" in sentence(said), said[-2000:]
        assert "measures again" in sentence(said)
        assert release(one) == good
        assert two.ssh("ls /opt") == ""
        measures(one)
    with proof.told("a configuration that does not measure goes back, and secrets with it"):
        secrets = {"mqtt_password": "{{ vault_mqtt_passwords[inventory_hostname] }}", "further": "x"}
        dark = {"spectrophone_configuration": CONFIGURATION + DARK, "spectrophone_secrets": secrets}
        code, said = proof.play("site.yml", spectrophone_wheel=str(first), **dark)
        proof.note(sentence(said))
        assert "measures again" in sentence(said), said[-2000:]
        assert one.ssh("cat /etc/spectrophone/box.yaml") == settings
        assert "further" not in one.ssh("cat /etc/spectrophone/secrets.yaml")
        measures(one)
    with proof.told("a configuration with a fault is refused before anything changes"):
        wrong = {"spectrophone_configuration": CONFIGURATION.replace("sim", "simm")}
        code, said = proof.play("site.yml", spectrophone_wheel=str(first), **wrong)
        assert code != 0
        assert "Check it" in said, said[-2000:]
        assert (release(one), one.ssh("cat /etc/spectrophone/box.yaml")) == (good, settings)
    with proof.told("a better release stays, and then comes to the other box"):
        code, said = proof.play("site.yml", spectrophone_wheel=str(better))
        assert code == 0, said[-2000:]
        assert release(one) == release(two) != good
        proof.note(f"{measures(two)}; {counts(said)}")
    with proof.told("a play that ended before its question is made good by the next; three releases stay"):
        one.ssh("touch /opt/spectrophone/trial; systemctl stop spectrophone")
        code, said = proof.play("site.yml", "--limit=canary", spectrophone_wheel=str(best))
        assert code == 0, said[-2000:]
        assert release(one) != release(two)
        assert one.ssh("basename $(readlink /opt/spectrophone/previous)") == good
        assert len(one.ssh("ls /opt/spectrophone/releases").split()) == 3
        one.ssh("test ! -e /opt/spectrophone/trial")


def machine(proof: Proof, one: Guest, work: Path) -> None:
    """What the box has beside its gateway."""
    authority = work / "authority.pem"
    with proof.told("the broker: TLS of its own authority, passwords of the vault, and the gateway's values"):
        authority.write_text(one.ssh("cat /etc/spectrophone/broker.pem") + "\n")
        told = heard(one, authority, "example-home")
        assert told[0] == "Success", told
        assert any(topic.startswith("spectrophone/box-1/") for topic in told), told
        assert heard(one, authority, "wrong")[0] == "Not authorized"
    with proof.told("the firewall: the page's port is open, another is not, unless the rules are changed"):
        serve = "systemd-run -q --unit serve{0} python3 -m http.server {0}"
        one.ssh("; ".join(serve.format(port) for port in (8080, 9999)))
        time.sleep(5)
        before = one.says(8080), one.says(9999)
        one.ssh("nft add rule inet spectrophone input tcp dport 9999 accept")
        after = one.says(9999)
        one.ssh("nft -f /etc/nftables.d/spectrophone.nft; systemctl stop serve8080 serve9999")
        assert (*before, after) == (True, False, True)
    with proof.told("told to restart over MQTT, the gateway ends with 75, and systemd starts it again"):
        before = one.ssh("systemctl show -P MainPID spectrophone")
        heard(one, authority, "example-home", "spectrophone/box-1/gateway/set", "restart")
        one.ssh("/opt/spectrophone/measuring 60 5")
        assert one.ssh("systemctl show -P MainPID spectrophone") != before
        assert sorted(one.ssh("systemctl show -P NRestarts,Result spectrophone").split()) == ["1", "success"]
    with proof.told("killed, it is started again"):
        one.ssh("systemctl kill --signal=KILL --kill-whom=main spectrophone; sleep 3; /opt/spectrophone/measuring 60 5")
    with proof.told("watchdog, time, journal, upgrades"):
        assert one.ssh("systemctl show -P RuntimeWatchdogUSec") == "15s"
        assert one.ssh("cat /sys/class/watchdog/watchdog0/state") == "active"
        assert one.ssh("systemctl is-active systemd-timesyncd") == "active"
        assert "SystemMaxUse=64M" in one.ssh("systemd-analyze cat-config systemd/journald.conf")
        said = one.ssh("unattended-upgrade --dry-run --verbose", timeout_s=300)
        assert "Allowed origins are: origin=Debian,codename=trixie-security,label=Debian-Security\n" in said, said
        assert one.ssh("apt-config dump Unattended-Upgrade::Automatic-Reboot").endswith('"false";')
    with proof.told("the unit's exposure is at most 3.0"):
        proof.note(one.ssh("systemd-analyze security --threshold=30 spectrophone.service | tail -n 1"))
        one.ssh("systemd-analyze security --threshold=30 spectrophone.service >/dev/null")
    with proof.told("doctor finds that scripts are confined at level A"):
        said = one.ssh("/opt/spectrophone/current/bin/spectrophone doctor", check=False)
        found = re.search(r"^.*isolation.*$|^.*level [A-L].*$", said, re.MULTILINE)
        assert found, said
        proof.note(found[0].strip())
        assert "level A" in found[0], said
    with proof.told("after a restart of the machine all is there"):
        boot_id = one.ssh("cat /proc/sys/kernel/random/boot_id")
        one.ssh("systemctl reboot", check=False)
        one.wait(boot_id)
        one.ssh("/opt/spectrophone/measuring 90 5; nft list table inet spectrophone")


def removal(proof: Proof, one: Guest) -> None:
    """No box any more."""
    with proof.told("the removal leaves no unit, no rule and no release; settings stay; a second one changes nothing"):
        code, said = proof.play("remove.yml", "--limit=canary")
        assert code == 0, said[-2000:]
        assert one.ssh("systemctl list-unit-files --no-legend 'spectrophone*'") == ""
        assert one.ssh("systemctl list-units --all --no-legend 'spectrophone*'") == ""
        left = one.ssh("find / -xdev -not -path '/home/*' -name '*spectrophone*'").split()
        assert sorted(left) == ["/etc/spectrophone", "/var/lib/spectrophone"], left
        assert one.ssh("nft list tables") == ""
        assert one.ssh("cat /boot/firmware/config.txt") == "# as it came"
        assert one.ssh("systemctl is-system-running") == "running"
        code, said = proof.play("remove.yml", "--limit=canary")
        assert counts(said) == {"box-1": (0, 0)}, said[-2000:]


def main() -> int:
    """Build what is missing, boot, ask; 1 where something does not hold."""
    LOG.mkdir(parents=True, exist_ok=True)
    roles = ANSIBLE / "roles/spectrophone/files"
    linux = cached(
        "kernel", [*sorted((PROJECT / "tests/hil/kernel").iterdir()), HERE / "config"], f"{HERE}/kernel {{}}"
    )
    lists = [roles / "build.txt", roles / "requirements.txt"]
    debian = cached("base", [HERE / "base", *lists], f"{HERE}/base {{}} trixie")
    pip = "{}/bin/python -m pip install --quiet --disable-pip-version-check -r"
    venv = cached("ansible", [HERE / "ansible.txt"], "python3 -m venv {}", f"{pip} {HERE}/ansible.txt")
    with tempfile.TemporaryDirectory(prefix="role-") as directory, contextlib.ExitStack() as stack:
        work = Path(directory)
        names = {"box-1": 1, "box-2": 2}
        boxes = {
            name: stack.enter_context(boot(name, number, linux, debian, work, LOG, PORTS))
            for name, number in names.items()
        }
        proof = Proof(venv / "bin/python", boxes, work, LOG)
        releases(proof, boxes["box-1"], boxes["box-2"], work)
        machine(proof, boxes["box-1"], work)
        removal(proof, boxes["box-1"])
    print("all is well" if not proof.failures else f"{proof.failures} things do not hold; what was said is in {LOG}")
    return min(proof.failures, 1)


sys.exit(main())
