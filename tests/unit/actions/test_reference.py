"""The page of action nodes: every driver and its options, payloads as they are, and up to date."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gateway import jsonlines
from gateway.actions.drivers import DRIVERS
from gateway.actions.payload import SCHEMA
from gateway.actions.reference import reference


def test_every_option_of_every_driver_is_on_the_page() -> None:
    page = reference()
    for name, kind in DRIVERS.items():
        section = page.split(f"### {name}\n")[1].split("\n### ")[0]
        for option, info in kind.settings.model_fields.items():
            assert f"| {option} |" in section
            assert info.description


def test_every_kind_has_an_example_with_all_its_fields() -> None:
    examples = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", reference(), re.DOTALL)]
    about = ["schema", "box", "key", "kind", "time", "t_s"]
    for kind in ("measurement", "alert", "peak", "lock_in", "level", "command"):
        (example,) = (one for one in examples if one["kind"] == kind)
        assert list(example) == [*about, *jsonlines.FIELDS[kind]]
        assert (example["schema"], example["key"][:7]) == (SCHEMA, "lab-42-")


def test_the_page_is_up_to_date() -> None:
    assert Path("docs/actions.md").read_text("utf-8") == reference(), "run make docs"
