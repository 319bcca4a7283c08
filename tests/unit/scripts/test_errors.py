"""Records of exceptions that are made here; those of a worker are in test_worker.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gateway.scripts import errors
from gateway.scripts.errors import Source, describe, first_line
from gateway.scripts.messages import FROM_WORKER_LIMIT, Fault, Record
from gateway.scripts.wire import frame

PATH = "/home/box/mail.py"


def raised(text: str, hint: Callable[[BaseException], str] = lambda error: "") -> Record:
    """The Record of what a script raises."""
    source = Source(PATH, text.encode())
    try:
        exec(compile(text, PATH, "exec"), {"__name__": "script_mail"})
    except BaseException as exception:
        return describe(exception, source, hint)
    raise AssertionError("it raised nothing")


def test_lines_are_counted_as_python_counts_them() -> None:
    record = raised("a = 1\x0c\nb = '\x1c\u2028'\r\nraise ValueError(__name__)  # here")
    assert (record.line, record.message) == (3, "script_mail")
    assert record.frames == [(3, "<module>", "raise ValueError(__name__)  # here")]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert Source(PATH, b"\xef\xbb\xbfx = 1").line(1) == "x = 1"


@pytest.mark.parametrize("number", [0, -1, 3])
def test_a_line_that_is_not_there_is_empty(number: int) -> None:
    assert Source(PATH, b"a\nb").line(number) == ""


def test_of_many_frames_the_first_and_the_last_are_kept() -> None:
    record = raised("def deeper(level):\n    1 // level\n    deeper(level - 1)\ndeeper(100)")
    lines = [line for line, _, _ in record.frames]
    assert lines == [4, *[3] * 18, 2]


def test_a_record_of_the_longest_of_everything_fits_into_a_frame() -> None:
    name = "\u00e9" * 300
    long = "\U0001f600" * 3000
    record = raised(
        f"def {name}(level):\n    if level: {name}(level - 1)  # {long}\n    raise Exception('{long}')\n{name}(90)"
    )
    assert len(record.frames) == 20
    assert len(frame(Fault(1, record))) <= FROM_WORKER_LIMIT


def test_a_syntax_error_has_its_own_line() -> None:
    assert raised("x = 1\ny = (").line == 2


def test_a_syntax_error_in_other_text_has_the_line_that_read_it() -> None:
    record = raised("x = 1\n\ncompile('\\n\\n\\n\\n(', 'other', 'exec')")
    assert (record.type, record.line) == ("SyntaxError", 3)


def test_a_group_of_one_is_that_one() -> None:
    record = raised("raise ExceptionGroup('all', [BaseExceptionGroup('some', [KeyError('x')])])")
    assert (record.type, record.message) == ("KeyError", "'x'")


def test_a_group_of_several_is_told_as_such() -> None:
    assert raised("raise ExceptionGroup('all', [KeyError('x'), OSError()])").type == "ExceptionGroup"


def test_the_type_is_told_with_the_module_of_a_library() -> None:
    assert raised("import json\njson.loads('{')").type == "json.decoder.JSONDecodeError"
    assert raised("class Odd(Exception): pass\nraise Odd").type == "Odd"


def test_a_hint_that_fails_is_left_out() -> None:
    record = raised("raise ValueError('x')", lambda error: str(1 // 0))
    assert (record.message, record.hint) == ("x", "")


def test_a_text_of_a_class_of_the_customers_is_taken_as_it_is() -> None:
    script = """
class Text(str):
    def __getitem__(self, place): raise SystemExit
    def __len__(self): return -5
class Odd(Exception):
    def __str__(self): return Text("odd")
raise Odd"""
    assert raised(script).message == "odd"


@pytest.mark.parametrize("function", [5, print, first_line.__call__])
def test_only_functions_have_a_first_line(function: Any) -> None:
    assert first_line(function) == 0


def test_functions_and_methods_have_a_first_line() -> None:
    place = test_only_functions_have_a_first_line.__code__.co_firstlineno
    assert first_line(test_only_functions_have_a_first_line) == place
    assert first_line(Source(PATH, b"").line) == Source.line.__code__.co_firstlineno


def test_where_no_memory_is_left_to_describe_anything_that_is_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(errors, "_describe", full)
    record = describe(ValueError("x"), Source("co2.py", b""), lambda exception: "")
    assert (record.type, record.hint) == ("MemoryError", "keep less in memory, or raise max_memory_mb")
