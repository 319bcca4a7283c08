"""The page's own files: both languages say everything, nothing is inline, and nothing comes from outside."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gateway.interlock import State
from gateway.types import Flag
from gateway.web import files

SCRIPTS = sorted(files.STATIC.rglob("*.js"))
ASKED = re.compile(r"\bt\(\s*'([^']+)'")
MADE = re.compile(r"\b(?:t|known)\(\s*(?:`([a-z_]+)\.\$\{|'([a-z_]+)',)")
PLACE = re.compile(r"\{(\w+)\}")


def words(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((files.STATIC / f"{language}.json").read_text("utf-8"))
    return found


def source() -> str:
    return "".join(script.read_text("utf-8") for script in SCRIPTS)


def test_both_languages_have_the_same_words() -> None:
    english, french = words("en"), words("fr")
    assert list(english) == list(french)
    assert all(text.strip() for text in (*english.values(), *french.values()))
    assert [key for key, text in english.items() if set(PLACE.findall(text)) != set(PLACE.findall(french[key]))] == []


def test_every_word_that_is_asked_for_is_there_and_no_other() -> None:
    known, text = words("en"), source()
    asked = set(ASKED.findall(text))
    groups = {first or second for first, second in MADE.findall(text)}
    assert asked - set(known) == set()
    spare = {key for key in known if key not in asked and key.split(".")[0] not in groups}
    assert {key for key in spare if f"'{key}'" not in text} == set()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_flags_and_states_are_told_in_words(language: str) -> None:
    known = words(language)
    assert {f"flag.{flag.value}" for flag in Flag} <= set(known)
    assert {f"laser.{state.value}" for state in State} <= set(known)


def test_nothing_is_inline_and_nothing_comes_from_outside() -> None:
    html = (files.STATIC / "index.html").read_text("utf-8")
    assert "<style" not in html
    assert " style=" not in html
    assert re.findall(r"<script(?![^>]*\bsrc=)", html) == []
    assert re.findall(r"\bon\w+=", html) == []
    everything = html + source() + (files.STATIC / "style.css").read_text("utf-8")
    assert re.findall(r"https?://(?!www\.w3\.org/)", everything) == []
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|new Function|document\.write", everything) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_what_a_module_imports_is_there(script: Path) -> None:
    text = script.read_text("utf-8")
    for names, path in re.findall(r"import \{([^}]+)\} from '([^']+)'", text):
        exported = (script.parent / path).read_text("utf-8")
        for name in (each.strip() for each in names.split(",")):
            assert re.search(rf"export (?:async )?(?:function|const|let|class) {name}\b", exported), (path, name)
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is imported and not used"


def test_what_is_served_is_small() -> None:
    """A phone in a cellar loads it: page and charts together stay below 250 kB, uncompressed."""
    served = {**files.page_files(), **files.vendor_files()}
    assert {"/", "/app.js", "/vendor/uplot.iife.min.js", "/vendor/uplot.min.css"} <= set(served)
    assert sum(file.stat().st_size for file in set(served.values())) < 250_000
