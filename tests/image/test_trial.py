"""The judge of a new system, with a gateway that measures, or does not, as it is told."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from tests.image.box import card, slots, trial

Autoboot = slots.Autoboot
STATE = {"slot": "b", "version": "9.9", "measured": True, "outcome": "Update to 9.9: on trial."}


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A box that runs b; what it does is `measures` and `runs`, what it asks for is in `asked`."""
    place = SimpleNamespace(card=tmp_path, measures=True, runs=True, asked=[], slot="b")
    (tmp_path / "settings.json").write_text(json.dumps({"told": {"system.yaml": ["system.yaml: none."]}}))
    for module in (card, trial):
        monkeypatch.setattr(module, "CARD", tmp_path)
        monkeypatch.setattr(module, "SYSTEM", tmp_path)
    monkeypatch.setattr(trial, "STATE", tmp_path / "update.json")
    monkeypatch.setattr(card, "writable", lambda mounted=None: nullcontext())
    monkeypatch.setattr(card, "version", lambda: "9.9")
    monkeypatch.setattr(trial.slots, "running", lambda cmdline: place.slot)

    def run(command, **how):
        place.asked.append(command)
        if command[0] == card.GATEWAY and place.runs is None:
            raise FileNotFoundError(2, "No such file or directory", card.GATEWAY)
        if command[0] == "/opt/spectrophone/measuring":
            return SimpleNamespace(
                returncode=not place.measures, stdout="greenhouse measures\n" * place.measures or "it does not\n"
            )
        return SimpleNamespace(returncode=not place.runs)

    monkeypatch.setattr(trial.subprocess, "run", run)
    return place


def begin(box, autoboot, state=None):
    (box.card / "autoboot.txt").write_bytes(autoboot.text().encode())
    if state is not None:
        (box.card / "update.json").write_text(json.dumps(state))
    trial.main()
    return slots.parse((box.card / "autoboot.txt").read_text())


def told(box):
    return (box.card / card.STATUS).read_text()


def starts_anew(box):
    return ["systemctl", "--no-block", "reboot"] in box.asked


@pytest.mark.parametrize("before", [Autoboot("a", "b"), Autoboot("b", "b")])
def test_a_system_that_measures_stays(box, before):
    assert begin(box, before, STATE) == Autoboot("b", "a")
    assert not starts_anew(box)
    assert "Update to 9.9: it has proved itself and stays." in told(box)
    assert "system.yaml: none." in told(box)
    box.asked.clear()
    assert begin(box, Autoboot("b", "a")) == Autoboot("b", "a")
    assert box.asked == []


@pytest.mark.parametrize("before", [Autoboot("a", "b"), Autoboot("b", "b")])
def test_one_that_does_not_goes_back_and_the_old_one_tells_why(box, before):
    box.measures = False
    assert begin(box, before, STATE) == Autoboot("a", "b")
    assert starts_anew(box)
    box.slot = "a"
    box.asked.clear()
    assert begin(box, Autoboot("a", "b")) == Autoboot("a", "b")
    assert "Update to 9.9: it does not; back at the old one." in told(box)
    assert not starts_anew(box)


def test_one_that_never_got_so_far_is_told_of_too(box):
    box.slot = "a"
    assert begin(box, Autoboot("a", "b"), STATE) == Autoboot("a", "b")
    assert "the new system did not start, or lost its power; back at the old one" in told(box)


@pytest.mark.parametrize("measured", [True, False])
def test_a_system_without_a_gateway_goes_back(box, measured):
    box.measures, box.runs = False, None
    assert begin(box, Autoboot("a", "b"), {**STATE, "measured": measured}) == Autoboot("a", "b")
    assert starts_anew(box)
    assert "No such file" in json.loads((box.card / "update.json").read_text())["why"]


@pytest.mark.parametrize(("runs", "after"), [(True, Autoboot("b", "a")), (False, Autoboot("a", "b"))])
def test_a_box_that_did_not_measure_before_only_needs_a_gateway(box, runs, after):
    box.measures, box.runs = False, runs
    assert begin(box, Autoboot("a", "b"), {**STATE, "measured": False}) == after


def test_nothing_is_judged_on_an_ordinary_start(box):
    box.slot = "a"
    assert begin(box, Autoboot("a", "b")) == Autoboot("a", "b")
    assert box.asked == []
    assert not (box.card / card.STATUS).exists()
