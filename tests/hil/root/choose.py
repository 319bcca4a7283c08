"""choose.py PIP PYPROJECT LOCK CHOSEN: those lines of LOCK that PYPROJECT's dependencies come to, with hashes.

pip cannot be told "these, in the versions and with the hashes of that list": it takes a list with hashes as a whole. So it
is asked for its plan first. What the plan has and the list has not is written with the plan's own version and hash.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

pip, pyproject, lock, chosen = sys.argv[1:]
project = tomllib.loads(Path(pyproject).read_text())["project"]
wanted = project["dependencies"]

entries = re.findall(r"^(\S+?)==(\S+)([^\n]*)\n((?:    --hash\S+(?: \\)?\n)+)", Path(lock).read_text(), re.MULTILINE)
bounds = Path(chosen).with_suffix(".bounds")
bounds.write_text("".join(f"{name}=={version}{marker.rstrip(' \\')}\n" for name, version, marker, _ in entries))
plan = subprocess.run(
    [pip, "install", "-q", "--dry-run", "--report", "-", "-c", str(bounds), *wanted], check=True, stdout=subprocess.PIPE
)
lines = []
for item in json.loads(plan.stdout)["install"]:
    name, version = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(), item["metadata"]["version"]
    hashes = [block for known, locked, _, block in entries if (known, locked) == (name, version)]
    hashes = hashes or [f"    --hash=sha256:{item['download_info']['archive_info']['hashes']['sha256']}\n"]
    lines.append(f"{name}=={version} \\\n{hashes[0]}")
Path(chosen).write_text("".join(lines))
