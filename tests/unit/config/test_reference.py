"""The configuration page: every option of every section and node, and up to date."""

from __future__ import annotations

from pathlib import Path

from gateway.config.reference import reference
from gateway.design import SETTINGS


def test_every_node_and_option_is_on_the_page() -> None:
    page = reference(SETTINGS)
    for kind, settings in SETTINGS.items():
        section = page.split(f"### {kind}\n")[1].split("\n### ")[0]
        for name, info in settings.model_fields.items():
            assert f"| {name} |" in section
            assert info.description


def test_the_page_is_up_to_date() -> None:
    assert Path("docs/configuration.md").read_text("utf-8") == reference(SETTINGS), "run make docs"
