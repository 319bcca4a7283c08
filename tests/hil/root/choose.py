"""choose.py PIP PYPROJECT LOCK CHOSEN: what PYPROJECT depends on, on a Pi too, as lines of LOCK with hashes.

pip cannot be told "these, with the versions and hashes of that list": it takes a list with hashes as a whole. So it is
asked for its plan first. What the plan has and the list has not is written with the plan's own version and hash.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

pip, pyproject, lock, chosen = sys.argv[1:]
project = tomllib.loads(Path(pyproject).read_text())["project"]

entries = re.findall(r"^(\S+?)==(\S+)(.*) \\\n((?:    --hash.*\n)+)", Path(lock).read_text(), re.MULTILINE)
locked = {name for name, *_ in entries}
wanted = project["dependencies"]
wanted += [need for need in project["optional-dependencies"]["pi"] if re.match(r"[\w-]+", need)[0] in locked]
bounds = Path(chosen).with_suffix(".bounds")
bounds.write_text("".join(f"{name}=={version}{marker}\n" for name, version, marker, _ in entries))
command = [pip, "install", "-q", "--dry-run", "--report", "-", "-c", str(bounds), *wanted]
plan = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)

lines = []
for item in plan["install"]:
    name, version = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(), item["metadata"]["version"]
    own = f"    --hash=sha256:{item['download_info']['archive_info']['hashes']['sha256']}\n"
    hashes = next((block for known, tested, _, block in entries if (known, tested) == (name, version)), own)
    lines.append(f"{name}=={version} \\\n{hashes}")
Path(chosen).write_text("".join(lines))
