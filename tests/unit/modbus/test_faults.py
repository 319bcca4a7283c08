"""What is wrong with the section `modbus`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from gateway.configured import prepare


def test_the_library_is_missed_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    file = tmp_path / "lab.yaml"
    file.write_text("board: sim\n")
    assert prepare(file).faults == ()
    file.write_text("board: sim\nmodbus: {port: 502}\n")
    (fault,) = prepare(file).faults
    assert fault.option == "modbus"
    assert "pip install 'spectrophone[modbus]'" in str(fault)


def test_what_can_be_written_is_a_word(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("board: sim\nmodbus: {writes: everything, word_order: middle, unit: 0, port: 70000}\n")
    assert {fault.option for fault in prepare(file).faults} == {
        "modbus.writes",
        "modbus.word_order",
        "modbus.unit",
        "modbus.port",
    }
    file.write_text("board: sim\nmodbus: {writes: off}\n")
    config = prepare(file).config
    assert config is not None
    assert config.modbus is not None
    assert (config.modbus.listen, config.modbus.writes) == ("127.0.0.1", "off")
