"""Plain words of YAML 1.2's core schema, and variables."""

from __future__ import annotations

import math

import pytest

from gateway.config.scalars import UnsetError, is_variable, scalar, substitute


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("5", 5),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".", "."),
        ("-.inf", -math.inf),
        ("inf", "inf"),
        ("0x", "0x"),
        ("5 Hz", "5 Hz"),
    ],
)
def test_a_plain_word_means_what_yaml_1_2_says(text: str, value: object) -> None:
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(scalar(".nan"))  # type: ignore[arg-type]


def test_a_number_too_long_for_python_is_no_traceback() -> None:
    assert isinstance(scalar("9" * 5000), float | str)


@pytest.mark.parametrize(
    ("text", "filled", "taken"),
    [
        ("${A}", "one", ("one",)),
        ("x${A}y${B}", "xoney", ("one", "")),
        ("${A:-two}", "one", ("one",)),
        ("${C:-two}", "two", ()),
        ("${B:-two}", "two", ()),
        ("${C:-}", "", ()),
        ("$${A}", "${A}", ()),
        ("$$ $A {A}", "$$ $A {A}", ()),
    ],
)
def test_variables_are_filled_in_as_in_a_shell(text: str, filled: str, taken: tuple[str, ...]) -> None:
    assert substitute(text, {"A": "one", "B": ""}) == (filled, taken)


@pytest.mark.parametrize("text", ["${C}", "${", "${1}", "${A", "${A-b}", "x${}"])
def test_what_cannot_be_filled_in_is_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(UnsetError) as refused:
        substitute(text, {"A": "one"})
    assert refused.value.remedy


def test_a_value_from_the_environment_is_not_filled_in_again() -> None:
    assert substitute("${A}", {"A": "${B}", "B": "no"}) == ("${B}", ("${B}",))


@pytest.mark.parametrize(("text", "whole"), [("${A}", True), ("${A:-b c}", True), ("x${A}", False), ("$${A}", False)])
def test_whole_variables(text: str, whole: bool) -> None:
    assert is_variable(text) is whole
