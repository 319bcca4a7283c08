"""Validation: each kind of pydantic's errors in our words, at the user's place."""

# ruff: noqa: E501 (the tables hold whole messages)

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator

from gateway.config.document import parse
from gateway.config.fields import unit
from gateway.config.settings import Settings
from gateway.config.validate import validate


class Low(Settings):
    type: Literal["low"]
    cutoff_frequency: float = Field(gt=0)


class High(Settings):
    type: Literal["high"]
    order: int = Field(4, ge=1, lt=16)


class Options(Settings):
    rate_hz: int = Field(48000, ge=8000, le=384000)
    gain_db: float = Field(0.0, ge=-120)
    on: bool = True
    name: str = Field("x", min_length=1, max_length=5)
    word: Literal["alpha", "beta"] = "alpha"
    password: SecretStr | None = Field(None, min_length=3)
    weights: tuple[float, ...] = Field((1.0,), min_length=1, max_length=2)
    levels: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    either: float | list[float] = 1.0
    filter: Low | High | None = Field(None, discriminator="type")
    filters: list[Annotated[Low | High, Field(discriminator="type")]] = Field(default_factory=list)
    named: dict[str, High] = Field(default_factory=dict)
    inner: High | None = None
    even: int = 2

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"{value} is odd. Give an even number.")
        return value

    @model_validator(mode="after")
    def _together(self) -> Options:
        if self.rate_hz == 9000 and self.even == 4:
            raise ValueError("9000 and 4 do not go together")
        return self


def faults(text: str, **environ: str) -> list[str]:
    _, found = validate(parse(text, "f", environ), Options)
    return [str(fault) for fault in found]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rate_hz: 1", "f:1:1: rate_hz: 1 is too low. Give at least 8000 and at most 384000 Hz"),
        ("rate_hz: 1e6", "f:1:1: rate_hz: 1e6 is not written as a whole number. Leave the decimal point out"),
        ("rate_hz: '9000'", "f:1:1: rate_hz: '9000' is text, not a whole number. Take the quotes off"),
        ("rate_hz: fast", "f:1:1: rate_hz: fast is not a whole number. Give a whole number, at least 8000 and at most 384000 Hz"),
        ("rate_hz: true", "f:1:1: rate_hz: true is not a whole number. Give a whole number, at least 8000 and at most 384000 Hz"),
        ("rate_hz:", "f:1:1: rate_hz: nothing is not a whole number. Give a whole number, at least 8000 and at most 384000 Hz"),
        ("gain_db: -121", "f:1:1: gain_db: -121 is too low. Give at least -120 dB"),
        ("gain_db: .nan", "f:1:1: gain_db: .nan is not a finite number. Give a number"),
        ("on: yes", "f:1:1: on: yes is not true or false. Write true or false"),
        ("name: 5", "f:1:1: name: 5 is not text. Put it in quotes"),
        ("name: ''", "f:1:1: name: '' is too short. Give at least 1 character"),
        ("name: abcdef", "f:1:1: name: abcdef is too long. Give at most 5 characters"),
        ("word: alpa", "f:1:1: word: alpa is not one of the known words. Did you mean 'alpha'? Known: alpha, beta"),
        ("weights: []", "f:1:1: weights: a list is too short. Give at least 1 item"),
        ("weights: [1, x]", "f:1:14: weights[1]: x is not a number. Give a number"),
        ("weights: {a: 1}", "f:1:1: weights: a mapping is not a list. Write [a, b], or - a on lines of its own"),
        ("levels: [0, -1]", "f:1:13: levels[1]: -1 is too low. Give at least 0"),
        ("either: x", "f:1:1: either: x is not a number. Give a number"),
        ("either: [1, x]", "f:1:13: either[1]: x is not a number. Give a number"),
        ("inner: {type: high, order: 16}", "f:1:21: inner.order: 16 is too high. Give at least 1 and less than 16"),
        ("named: {a: {type: high, ordr: 1}}", "f:1:25: named.a.ordr: unknown option 'ordr'. Did you mean 'order'? Known: order, type"),
        ("filter: {type: low, cutoff_frequency: 0}", "f:1:21: filter.cutoff_frequency: 0 is too low. Give more than 0 Hz"),
        ("filter: {type: low}", "f:1:1: filter.cutoff_frequency: the option 'cutoff_frequency' is missing. Add `cutoff_frequency: ...`"),
        ("filter: {type: lo}", "f:1:10: filter.type: unknown type 'lo'. Did you mean 'low'? Known: high, low"),
        ("filter: {}", "f:1:1: filter: the option 'type' is missing. Add `type: ...`. Known: high, low"),
        ("filters: [{type: high}, {type: low, low: 1, cutoff_frequency: 1}]", "f:1:37: filters[1].low: unknown option 'low'. Known: cutoff_frequency, type"),
        ("even: 3", "f:1:1: even: 3 is odd. Give an even number"),
        ("even: 4\nrate_hz: 9000", "f:1:1: 9000 and 4 do not go together"),
    ],
)  # fmt: skip
def test_a_fault_in_plain_words_at_its_place(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_good_options_have_no_fault() -> None:
    text = "rate_hz: 9000\neither: [1, 2]\nfilter: {type: high}\nnamed: {a: {type: high, order: 2}}\nweights: [1, 2]"
    settings, found = validate(parse(text, "f", {}), Options)
    assert found == ()
    assert settings is not None
    assert settings.weights == (1.0, 2.0)
    assert settings.named["a"].order == 2


def test_a_secret_is_never_shown() -> None:
    assert faults("password: 12") == ["f:1:1: password: the value is not text. Put it in quotes"]
    assert faults("password: ab") == ["f:1:1: password: the value is too short. Give at least 3 characters"]
    assert faults("password: ${P}", P="zz") == ["f:1:1: password: ${P} is too short. Give at least 3 characters"]
    assert faults("word: ${P}", P="zz") == ["f:1:1: word: ${P} is not one of the known words. Known: alpha, beta"]
    assert faults("filter: {type: '${P}'}", P="zz-zz") == ["f:1:10: filter.type: unknown type '${P}'. Known: high, low"]
    assert "zz-zz" not in "".join(faults("even: ${P}\nname: '${P}-long'", P="zz-zz"))


def test_what_is_filled_in_takes_the_type_that_is_wanted() -> None:
    document = parse(
        "rate_hz: '${R}'\nname: ${N}\non: '${O:-false}'\npassword: ${W}\nweights: ['${X}']",
        "f",
        {"R": "9000", "N": "42", "W": "00123", "X": "0.5"},
    )
    settings, found = validate(document, Options)
    assert found == ()
    assert settings is not None
    assert (settings.rate_hz, settings.name, settings.on, settings.weights) == (9000, "42", False, (0.5,))
    assert settings.password is not None
    assert settings.password.get_secret_value() == "00123"


def test_what_is_filled_in_and_does_not_fit_is_shown_as_written() -> None:
    assert faults("rate_hz: ${R}", R="fast") == [
        "f:1:1: rate_hz: ${R} is not a whole number. Give a whole number, at least 8000 and at most 384000 Hz"
    ]


def test_a_group_whose_options_are_commented_out_is_empty() -> None:
    settings, found = validate(parse("named:\n  # a: 1\nlevels:\n", "f", {}), Options)
    assert found == ()
    assert settings is not None
    assert settings.named == {}


def test_all_faults_come_at_once_with_those_of_the_text_and_each_option_once() -> None:
    found = faults("rate_hz: 1\nname: ${NONE}\nrate_hz: 2\nwodr: alpha\nfilter: {type: low, cutoff_frequency: x}")
    assert [fault.split(":")[1] for fault in found] == ["1", "2", "3", "4", "5"]


def test_nothing_is_said_of_a_text_that_could_not_be_read() -> None:
    assert faults("rate_hz: '1") == ["f:1:10: a quotation mark is never closed. Close it on the same line"]


def test_long_values_are_shortened() -> None:
    found = faults(f"name: {'x' * 1000}\nword: |\n  first\n  second\n")
    assert all(len(fault) < 200 for fault in found)
    assert len(found) == 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("rate_hz", "Hz"),
        ("center_frequency", "Hz"),
        ("bandwidth", "Hz"),
        ("frequency_min", "Hz"),
        ("ppm", "ppm"),
        ("temperature_c", "degrees Celsius"),
        ("max_on_s", "s"),
        ("order", ""),
        ("s", ""),
        ("channels", ""),
    ],
)
def test_the_unit_that_a_name_tells(name: str, expected: str) -> None:
    assert unit(name) == expected


@pytest.mark.parametrize("data", [{"inner": {"type": 5}}, {"filter": {"type": [1]}}, {"filters": [None, 1, "x"]}])
def test_odd_shapes_are_faults(data: Any) -> None:
    import yaml

    assert faults(yaml.safe_dump(data))
