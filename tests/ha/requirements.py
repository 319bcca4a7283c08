"""Run inside the chroot: the packages that Home Assistant's default integrations and MQTT ask for, one a line."""

import json
import pathlib

import homeassistant
from homeassistant import bootstrap

components = pathlib.Path(homeassistant.__file__).parent / "components"
wanted = {"mqtt", "hassio", "recorder", "onboarding", "api", "config", "isal", "system_log"}
wanted |= bootstrap.DEFAULT_INTEGRATIONS | bootstrap.CORE_INTEGRATIONS | bootstrap.FRONTEND_INTEGRATIONS
known: set[str] = set()
packages: set[str] = set()
while todo := wanted - known:
    name = todo.pop()
    known.add(name)
    manifest = components / name / "manifest.json"
    if manifest.exists():
        content = json.loads(manifest.read_text())
        packages.update(content.get("requirements", []))
        wanted.update(content.get("dependencies", []))
print("\n".join(sorted(packages)))
