"""Every script in corpus/bad has exactly the faults that its header expects, at their lines; those in good have none.

# style: class NAME | module     # allowed: MODULE ...     # listed: network files     # functions: HOOK=NAME ...
# expect: LINE[:COLUMN] error|warning: PART
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scripts.findings import order
from gateway.scripts.messages import FROM_WORKER_LIMIT, LONGEST_SOURCE, Checked, Finding, FromWorker, Functions
from gateway.scripts.policy import allows, check
from gateway.scripts.wire import Receiver, frame

CORPUS = Path(__file__).parent / "corpus"
EXPECTATION = re.compile(r"# expect: (\d+)(?::(\d+))? (error|warning): (.+)")
GOOD, BAD = (sorted((CORPUS / kind).glob("*.script")) for kind in ("good", "bad"))
HOOK = b"\ndef on_alert(alert): ...\n"


def checked(path: Path) -> tuple[Finding, ...]:
    """The findings of a script of the corpus, checked as its header says."""
    source = path.read_bytes()
    said = dict(re.findall(r"^# (style|allowed|listed|functions): (.+)$", source.decode(), re.MULTILINE))
    style: Any = said["style"].split()[0]
    functions = Functions(**dict(pair.split("=") for pair in said.get("functions", "").split()))
    listed = said.get("listed", "").split()
    allowed, class_name = said.get("allowed", "").split(), said["style"].split()[-1]
    given = {"network": "network" in listed, "files": "files" in listed}
    return check(source, path.stem, allowed, style, class_name, functions, **given)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_an_ordinary_script_has_no_faults(path: Path) -> None:
    assert checked(path) == ()


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_fault_is_told_and_no_other(path: Path) -> None:
    expected = [match.groups() for line in path.read_text().splitlines() if (match := EXPECTATION.fullmatch(line))]
    found = checked(path)
    told = "\n".join(f"{finding.line}:{finding.column} {finding.severity}: {finding}" for finding in found)
    assert expected, "the header expects nothing"
    for (line, column, severity, part), finding in zip(expected, found, strict=False):
        assert (finding.line, finding.severity) == (int(line), severity), told
        assert part in str(finding), told
        assert column is None or finding.column == int(column), told
    assert len(expected) == len(found), told


def test_the_corpus_is_large() -> None:
    assert len(GOOD) >= 12
    assert len(BAD) >= 25


def test_the_message_of_the_specification() -> None:
    (finding,) = check(b"import json\n\nimport os" + HOOK, "a.py", ["json"], "module")
    assert str(finding) == "import of 'os' is not allowed: add it to allowed_imports (line 3)"


# Bytes


@pytest.mark.parametrize(
    ("source", "line", "part"),
    [
        (b"#" * (LONGEST_SOURCE + 1), 1, "the script has 262145 bytes, more than 262144: keep data in a file"),
        (b"x = 1\r\ny = '\xe4'", 2, "this line is not UTF-8: save the file as UTF-8"),
        (b"\xff\xfex\0=\0", 1, "not UTF-8"),
        (b"#!python\n# vim: set fileencoding=cp1252 :\n", 2, "the encoding cp1252 is declared"),
        (b"x = '(" + b"(" * 300, 1, "syntax error: unterminated string"),
        (b"(" * 300, 1, "syntax error: too many nested parentheses"),
        (b"x = " + b"-" * 100_000 + b"1", 1, "nested too deeply"),
        (b"x = a" + b".b" * 100_000, 1, "nested too deeply"),
        (b"x = " + b"lambda:" * 30_000 + b"1", 1, "nested too deeply"),
        (b"if a:pass\n" + b"elif a:pass\n" * 20_000, 1, "nested too deeply"),
        (b"x = " + b"1" * 5000, 1, "syntax error: Exceeds the limit"),
    ],
)
def test_what_cannot_be_read_is_one_fault_with_its_line(source: bytes, line: int, part: str) -> None:
    (finding,) = check(source, "a.py", [], "module")
    assert finding.line == line
    assert finding.severity == "error"
    assert part in str(finding)


@pytest.mark.parametrize(
    "start", [b"\xef\xbb\xbf", b"# -*- coding: utf-8 -*-\n", b"x = 1\n# coding: latin-1\n", b"\r\n\f\n"]
)
def test_utf_8_by_any_name_is_read(start: bytes) -> None:
    assert check(start + b"text = '\xc3\xa4'" + HOOK, "a.py", [], "module") == ()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_python_counts_them(newline: str) -> None:
    source = f"x = '\u2028'{newline}\f{newline}import os{newline}{HOOK.decode()}"
    (finding,) = check(source.encode(), "a.py", [], "module")
    assert (finding.line, finding.column) == (3, 1)


def test_twenty_thousand_faults_are_all_told() -> None:
    source = b"".join(b"import m%d\n" % number for number in range(15_000)) + HOOK
    assert len(check(source, "a.py", ["math", "mailbox"], "module")) == 15_000


def test_names_without_end_are_cut_and_twenty_findings_fit_into_a_frame() -> None:
    name = "\U0001d4d0\U00020000" * 1000
    source = f"import {name}.b, {name}.c as d\nclass {name}: ...\ndef on_alert(a, *, {name}): ..."
    for style in ("class", "module"):
        found = check(source.encode(), f"{name}.py\n", [name], style, name[1:])  # type: ignore[arg-type]
        assert found
        message = Checked([finding for finding in found for _ in range(20)][:20])
        assert Receiver[FromWorker](FromWorker, FROM_WORKER_LIMIT).feed(frame(message)) == [message]


WORDS = [
    "import os", "from . import x", "class A(B):", "class A(A):", "def on_update(self, data):", "async def f(*, a):",
    "while True:", "yield", "return", "    ", "        ", "\n", "\r", "\t", "\f", "\0", "(", ")", "[", "}", "{", ":",
    ",", "try:", "except ImportError:", "match x:", "case _:", "lambda: 1", "on_alert = 1", "@a.b", "@staticmethod",
    "'", '"""', "f'{", "\\", "é", "\u2028", "\U0001d4d0", "if __name__ == '__main__':", "eval", "x.__code__", "=", "1",
    "# coding: x",
]  # fmt: skip


@given(st.binary(max_size=100) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_make_it_raise(source: bytes) -> None:
    look_at(source)


@given(st.lists(st.sampled_from(WORDS), max_size=25).map("".join) | st.lists(st.sampled_from(WORDS)).map("\n".join))
def test_no_text_like_python_makes_it_raise(text: str) -> None:
    look_at(text.encode())


@given(st.data())
def test_no_spoilt_script_makes_it_raise(data: st.DataObject) -> None:
    source = bytearray(data.draw(st.sampled_from(GOOD)).read_bytes())
    start = data.draw(st.integers(0, len(source)))
    source[start : start + data.draw(st.integers(0, 40))] = data.draw(st.sampled_from(WORDS)).encode()
    look_at(bytes(source))


def look_at(source: bytes) -> None:
    """Check in both styles; findings must be in order, in the file, and one line each."""
    for style in ("class", "module"):
        found = check(source, "a.py", ["json"], style, "A")  # type: ignore[arg-type]
        assert list(found) == sorted(found, key=order)
        last = len(re.split(rb"\r\n?|\n", source)) + 1
        for finding in found:
            assert 1 <= finding.line <= last
            assert finding.column >= 1
            assert finding.remedy
            assert "\n" not in str(finding)


# Imports


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("email", True),
        ("email.mime.text", True),
        ("os.path", True),
        ("os", False),
        ("os.pathology", False),
        ("emails", False),
    ],
)
def test_a_package_allows_what_is_in_it_and_not_what_it_is_in(module: str, allowed: bool) -> None:
    assert allows(("email", "os.path"), module) is allowed


@pytest.mark.parametrize("module", ["typing", "dataclasses", "enum", "abc", "collections.abc", "__future__"])
def test_what_only_shapes_a_program_needs_no_permission(module: str) -> None:
    assert check(b"from %s import annotations" % module.encode() + HOOK, "a.py", [], "module") == ()


@pytest.mark.parametrize("module", ["collections", "math", "json", "time", "sys", "io", "gateway.types", ""])
def test_an_empty_list_allows_nothing_else(module: str) -> None:
    found = check(f"from {module or 'x'} import a".encode() + HOOK, "a.py", [""], "module")
    assert [finding.severity for finding in found] == ["error"]
