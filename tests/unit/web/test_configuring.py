"""A configuration takes its file's place whole, and what was there is kept."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway import configured
from gateway.errors import SpectrophoneError
from gateway.web import configuring
from gateway.web.configuring import PutWish, TextWish
from gateway.web.desk import Desk
from gateway.web.problem import Problem
from gateway.web.routes import Asked

TEXT = "box: {id: lab}\nmqtt: {host: broker, password: hunter22}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "box.yaml"
    made.write_text(TEXT)
    made.chmod(0o640)
    return made


def desk(file: Path | None) -> Desk:
    view = SimpleNamespace(
        file=file,
        secrets={"hunter22"},
        check=lambda text: configured.prepare(file, {}, board="sim", text=text),
        restarting=lambda config: ("mqtt",),
    )

    async def aside(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    return cast(Desk, SimpleNamespace(view=view, aside=aside, configuring=asyncio.Lock()))


def done(handler: Any, at: Desk, body: Any = None) -> Any:
    return asyncio.run(handler(at, cast(Asked, SimpleNamespace(body=body))))


def refused(handler: Any, at: Desk, body: Any = None) -> Problem:
    with pytest.raises(Problem) as problem:
        done(handler, at, body)
    return problem.value


def test_it_is_shown_without_and_put_back_with_its_secret(file: Path) -> None:
    at = desk(file)
    told = done(configuring.look, at)
    assert "hunter22" not in str(told)
    text = told["text"].replace("broker", "other")
    put = done(configuring.put, at, PutWish(text=text, etag=told["etag"]))
    assert file.read_text() == TEXT.replace("broker", "other")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.with_name("box.yaml.previous").read_text() == TEXT
    assert (put["applied"], put["restart"]) == (True, ["mqtt"])
    assert done(configuring.look, at)["etag"] == put["etag"]
    assert done(configuring.revert, at)["etag"] == told["etag"]
    assert file.read_text() == TEXT
    assert file.with_name("box.yaml.previous").read_text() == TEXT.replace("broker", "other")


def test_a_fault_changes_nothing_and_stands_at_its_line(file: Path) -> None:
    at = desk(file)
    told = done(configuring.look, at)
    wrong = told["text"] + "laser: {duty: 2}\n"
    problem = refused(configuring.put, at, PutWish(text=wrong, etag=told["etag"]))
    (fault,) = problem.faults
    assert (problem.status, fault["line"], fault["option"], fault["value"]) == (422, 3, "laser.duty", "2")
    assert done(configuring.check, at, TextWish(text=wrong))["faults"] == [fault]
    assert file.read_text() == TEXT
    assert not file.with_name("box.yaml.previous").exists()


def test_who_read_another_one_is_told_so(file: Path) -> None:
    at = desk(file)
    told = done(configuring.look, at)
    file.write_text(TEXT + "# changed by hand\n")
    assert refused(configuring.put, at, PutWish(text=told["text"], etag=told["etag"])).status == 409


def test_a_mask_that_nobody_knows_is_a_fault(file: Path) -> None:
    text = TEXT + 'homeassistant: {url: "http://ha:8123", token: "********"}\n'
    (fault,) = done(configuring.check, desk(file), TextWish(text=text))["faults"]
    assert (fault["line"], "!secret NAME" in fault["remedy"]) == (3, True)


def test_without_a_file_or_one_before_there_is_nothing_to_do(file: Path) -> None:
    assert "--config FILE" in refused(configuring.look, desk(None)).detail
    assert "Nothing was applied" in refused(configuring.revert, desk(file)).detail


def test_a_directory_that_may_not_be_written_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*paths: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copy2", full)
    at = desk(file)
    etag = done(configuring.look, at)["etag"]
    with pytest.raises(SpectrophoneError, match="no space left"):
        done(configuring.put, at, PutWish(text=TEXT, etag=etag))
    assert file.read_text() == TEXT
