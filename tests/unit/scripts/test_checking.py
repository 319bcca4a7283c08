"""The static check in a process of its own."""

from __future__ import annotations

from pathlib import Path

from gateway.scripts import checking
from gateway.scripts.checking import findings
from gateway.scripts.messages import Functions
from gateway.scripts.work import Work


def test_faults_have_their_line(tmp_path: Path) -> None:
    script = tmp_path / "mail.py"
    script.write_text("import json\nimport socket\n\ndef measured(m):\n    return 1\n")
    functions = Functions(on_measurement="measured")
    found = findings(Work("mail", str(script), "module", functions=functions, allowed_imports=("json",)))
    assert {each.line for each in found} == {2}
    assert any("socket" in each.message and each.severity == "error" for each in found)


def test_a_class_is_looked_for(tmp_path: Path) -> None:
    script = tmp_path / "mail.py"
    script.write_text("class Mail(CustomPythonAction):\n    def on_update(self, data):\n        pass\n")
    assert findings(Work("mail", str(script), "class", class_name="Mail")) == []
    assert "Mail" in findings(Work("mail", str(script), "class", class_name="Mial"))[0].remedy


def test_what_brings_the_check_down_is_a_finding(tmp_path: Path) -> None:
    found = findings(Work("mail", str(tmp_path / "not_there.py"), "module"))
    assert found[0].severity == "error"
    assert "cannot be checked" in found[0].message
    assert checking.PATIENCE_S > 10
