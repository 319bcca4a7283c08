"""How faults of scripts are put into words."""

from __future__ import annotations

import pytest

from gateway.scripts.messages import Functions, Record
from gateway.scripts.work import Work, told


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (Record("ValueError", "no gas", 3, "scripts/co2.py"), "co2.py:3: ValueError: no gas"),
        (Record("MemoryError", "", 0, "", [], "keep less"), "MemoryError (keep less)"),
        (Record("check", "import of 'os' (line 3)", 3, "scripts/co2.py"), "co2.py: import of 'os' (line 3)"),
    ],
)
def test_a_record_in_one_line(record: Record, text: str) -> None:
    assert told(record) == text


def test_functions_have_the_customers_names_in_module_style_only() -> None:
    functions = Functions(on_measurement="measured")
    assert Work("node", "a/co2.py", "module", functions=functions).function("on_measurement") == "measured"
    assert Work("node", "a/co2.py", "class", functions=functions).function("on_update") == "on_update"
    assert Work("node", "a/co2.py", "class").name == "co2.py"
