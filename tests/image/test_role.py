"""The role without a machine: its lists, its variables, its unit's exceptions, and what asks whether a box measures."""

from __future__ import annotations

import re
import subprocess
import sys
from configparser import RawConfigParser
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
ANSIBLE = PROJECT / "ansible"
ROLE = ANSIBLE / "roles/spectrophone"
SWITCHES = """
    LockPersonality MemoryDenyWriteExecute NoNewPrivileges PrivateDevices PrivateNetwork PrivateTmp PrivateUsers
    ProtectClock ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules
    ProtectKernelTunables RemoveIPC RestrictNamespaces RestrictRealtime RestrictSUIDSGID
"""
HARD = dict.fromkeys(SWITCHES.split(), "yes") | {
    "AmbientCapabilities": "",
    "CapabilityBoundingSet": "",
    "Delegate": None,
    "DeviceAllow": None,
    "IPAddressDeny": "any",
    "KeyringMode": "private",
    "ProcSubset": "pid",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "none",
    "RootDirectory": "one of its own",
    "SupplementaryGroups": None,
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "@system-service\n~@mount @privileged @resources",
    "UMask": "0077",
}
"""What `systemd-analyze security` looks at in a service of an ordinary user, and what it has no objection to."""


def test_the_lists_of_versions_are_what_the_lock_says_today(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ANSIBLE / "requirements", tmp_path], check=True)
    for name in ("requirements.txt", "build.txt"):
        made = (tmp_path / name).read_text()
        assert made.count("==") > 0
        assert (ROLE / "files" / name).read_text() == made, "run ansible/requirements as ansible/README.md says"


def documents() -> list[Path]:
    """Everything of YAML, but what a vault has encrypted."""
    found = sorted(ANSIBLE.rglob("*.yml"))
    return [path for path in found if not path.read_text().startswith("$ANSIBLE_VAULT")]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ANSIBLE)))
def test_yaml_of_the_role_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text())


def test_each_variable_is_described_with_its_default() -> None:
    specs = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert defaults.keys() == {name for name, option in specs.items() if not option.get("required")}
    computed = {name for name, value in defaults.items() if "{{" in str(value)}
    assert {name: specs[name].get("default") for name in defaults.keys() - computed} == {
        name: value for name, value in defaults.items() if name not in computed
    }


def test_the_vault_of_the_example_is_encrypted() -> None:
    assert (ANSIBLE / "inventory/group_vars/boxes/vault.yml").read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")


# The unit


def settings() -> dict[str, str]:
    """The unit's section [Service]."""
    parser = RawConfigParser(strict=False, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(ROLE / "files/spectrophone.service")
    return dict(parser["Service"])


def explained() -> set[str]:
    """The exceptions of the table in docs/fleet.md."""
    return set(re.findall(r"^\| `(\w+)=", (PROJECT / "docs/fleet.md").read_text(), re.MULTILINE))


def test_each_exception_of_the_unit_is_explained_and_no_other() -> None:
    given = settings()
    assert {name for name, hard in HARD.items() if given.get(name) != hard} == explained()


def test_the_unit_runs_the_release_that_is_current() -> None:
    commands = [value for name, value in settings().items() if name.startswith("Exec")]
    assert len(commands) == 2
    assert all(value.lstrip("+").startswith("/opt/spectrophone/current/bin/spectrophone ") for value in commands)


# Whether a box measures


@pytest.fixture
def measuring(tmp_path: Path) -> ModuleType:
    """The program, with a gateway of which nothing is known."""
    loader = SourceFileLoader("measuring", str(ROLE / "files/measuring"))
    spec = spec_from_loader("measuring", loader)
    assert spec
    module = module_from_spec(spec)
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    module.SPECTROPHONE = str(tmp_path / "spectrophone")  # type: ignore[attr-defined]
    module.WORDS = ["printf", "Traceback:\\nOSError: no sound.\\n\\nsafe: laser\\n"]  # type: ignore[attr-defined]
    return module


def status(**fields: Any) -> dict[str, Any]:
    """A status as `spectrophone status --json` prints it, of a gateway that measures."""
    value = {"kind": "measurement", "node": "co2", "valid": True, "flags": []}
    return {"box": "lab", "pid": 7, "age_s": 0.3, "safe_mode": "", "results": [value], **fields}


DARK = [
    {"kind": "measurement", "node": "co2", "valid": False, "flags": ["laser_off"]},
    {"kind": "peak", "node": "peak"},
]


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (status(), ""),
        (None, "the gateway does not run; its last words: OSError: no sound"),
        (status(age_s=31.4), "the gateway has hung for 31 s"),
        (status(safe_mode="it has crashed 3 times"), "the gateway is in safe mode: it has crashed 3 times"),
        (status(configuration_faults=["a", "b"]), "the configuration has faults: a; b"),
        (status(results=[]), "the gateway has no valid value: none has come"),
        (
            status(results=DARK, laser_dark_because="the lid is open"),
            "the gateway has no valid value: laser_off; the laser is dark: the lid is open",
        ),
    ],
)
def test_what_keeps_a_box_from_measuring_is_a_sentence(measuring: ModuleType, found: Any, reason: str) -> None:
    assert measuring.judge(found) == reason


def test_a_gateway_that_has_said_nothing(measuring: ModuleType) -> None:
    measuring.WORDS = ["no-such-program"]  # type: ignore[attr-defined]
    assert measuring.judge(None) == "the gateway does not run; it has said nothing"


@pytest.mark.parametrize(
    ("says", "code", "told"),
    [
        (
            'echo \'{"box": "lab", "pid": 7, "age_s": 0, "results": [{"kind": "measurement", "valid": true}]}\'',
            0,
            "lab measures",
        ),
        ("exit 1", 1, "the gateway does not run; its last words: OSError: no sound"),
    ],
)
def test_the_verdict(
    measuring: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], says: str, code: int, told: str
) -> None:
    (tmp_path / "spectrophone").write_text(f"#!/bin/sh\n{says}\n")
    (tmp_path / "spectrophone").chmod(0o755)
    measuring.EVERY_S = 0.0  # type: ignore[attr-defined]
    assert measuring.main(60.0 * (code == 0), 0.0) == code
    assert capsys.readouterr().out == f"{told}\n"


def test_a_gateway_that_is_started_again_and_again(
    measuring: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each status is another process's: it never measures for long."""
    line = '{"box": "lab", "pid": %s, "age_s": 0, "results": [{"kind": "measurement", "valid": true}]}\\n'
    (tmp_path / "spectrophone").write_text(f"#!/bin/sh\nprintf '{line}' $$\n")
    (tmp_path / "spectrophone").chmod(0o755)
    measuring.EVERY_S = 0.0  # type: ignore[attr-defined]
    assert measuring.main(0.1, 60.0) == 1
    assert capsys.readouterr().out == "the gateway is started again and again\n"
