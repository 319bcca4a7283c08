"""Whatever the API's own document allows, and much that it does not, sent to a running box by schemathesis.

Checked is that nothing is answered with 5xx, that every status, kind of media and body is one that the document names,
and that what it does not allow is refused. Not checked is that what it allows is never refused: no schema says which
words are a time or an output's verb. Left out are what never ends (the stream) and what takes seconds each time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.real.web_box import web_box

SLOW = ("stream", "doctor", "allan", "configuration", "configuration/check")
LONGEST_S = 150


def test_nothing_that_is_sent_makes_it_stumble(tmp_path: Path) -> None:
    with web_box(tmp_path) as box:
        assert box.machine("early", "admin").ask("POST", "/password", {"old": "", "new": "x" * 20}).status == 409
        box.owner()
        token = box.machine("fuzzer", "admin").token
        left_out = [word for path in SLOW for word in ("--exclude-path", f"/api/v1/{path}")]
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("schemathesis")), "run"),
                f"https://127.0.0.1:{box.port}/api/v1/openapi.json",
                *("--header", f"Authorization: Bearer {token}", f"--tls-verify={tmp_path / 'lab.web.pem'}"),
                *("--phases", "coverage,fuzzing", "--max-examples", "8", "--seed", "1", "--no-color"),
                *("--exclude-checks", "positive_data_acceptance", "--suppress-health-check", "all"),
                *left_out,
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        assert "Selected: 31/37" in done.stdout, done.stdout[-2000:]
        said = "\n".join(box.running.errors)
        assert "Traceback" not in said
        assert "failed" not in "\n".join(line for line in box.running.errors if "spectrophone.web" in line)
        assert box.running.stop() == 0
