"""What is announced, when it is announced again, and what is kept of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.config.sections import HomeAssistantSection
from gateway.mqtt import announce
from gateway.mqtt.announce import Announcer, retained
from gateway.mqtt.face import Face, GasFace
from gateway.mqtt.registry import Registry
from gateway.mqtt.topics import Topics
from tests.unit.mqtt.samples import EVERYTHING, FACE, ppm, settings, tick

TOPICS = Topics("spectrophone", "box1")
CONFIG = "homeassistant/device/spectrophone_box1/config"


class Box:
    """An announcer and the texts that it gave to be kept."""

    def __init__(self, face=FACE, registry=None, min_version="2024.11", **options):
        self.kept: list[str] = []
        home = HomeAssistantSection(min_version=min_version)
        known = registry or Registry()
        self.announcer = Announcer(settings(**options), home, face, TOPICS, known, self.kept.append)

    def sent(self, **how):
        return [(m.topic, json.loads(m.payload) if m.payload else None) for m in self.announcer.messages(**how)]


def test_it_is_kept_only_when_it_has_changed():
    box = Box()
    first = box.sent()
    assert [topic for topic, _ in first] == [CONFIG]
    assert len(box.kept) == 1
    assert box.sent() == first
    assert len(box.kept) == 1


def test_a_rule_that_is_gone_is_taken_back_and_its_topic_emptied():
    box = Box()
    box.sent()
    box.announcer.face = replace(FACE, rules=FACE.rules[:1])
    *configs, (emptied, nothing) = box.sent()
    assert [body["cmps"].get("alarm_quiet", {}).keys() for _, body in configs] == [
        configs[0][1]["cmps"]["alarm_quiet"].keys(),
        {"p"},
        set(),
    ]
    assert (emptied, nothing) == (TOPICS.alarm_state("quiet"), None)


def test_another_start_knows_what_was_there():
    before = Box()
    before.sent()
    after = Box(replace(FACE, outputs=FACE.outputs[:1]), Registry(before.kept[-1]))
    assert [body["cmps"]["relay_fan"] for _, body in after.sent()[1:2] if body] == [{"p": "switch"}]


def test_noise_makes_it_announced_again_once():
    box = Box()
    box.sent()
    again = [box.announcer.take(tick(ppm(sigma=0.02))) for _ in range(40)]
    assert (again.index(True), again.count(True)) == (9, 1)
    ((_, body),) = box.sent()
    assert body["cmps"]["gas_co2"]["sug_dsp_prc"] == 2
    later = Box(registry=Registry(box.kept[-1]))
    assert later.sent()[0][1]["cmps"]["gas_co2"]["sug_dsp_prc"] == 2


def test_without_discovery_nothing_is_announced():
    box = Box(discovery=False)
    assert not any(box.announcer.take(tick(ppm(sigma=0.02))) for _ in range(20))
    assert box.sent() == []


def test_the_oldest_version_decides():
    ozone = Face("box1", "Box", "1", "o3", (GasFace("o3", "tone", "ppb"),))
    old, new = Box(ozone).sent(), Box(ozone, min_version="2026.2").sent()
    assert "dev_cla" not in old[0][1]["cmps"]["gas_o3"]
    assert new[0][1]["cmps"]["gas_o3"]["dev_cla"] == "ozone"


def test_what_would_be_refused_is_left_out_and_told_once(monkeypatch, caplog):
    whole = announce.discovery.payload

    def with_a_fault(*args):
        payload = whole(*args)
        payload["cmps"]["gas_co2"]["dev_cla"] = "methane"
        return payload

    monkeypatch.setattr(announce.discovery, "payload", with_a_fault)
    box = Box()
    for _ in range(3):
        ((_, body),) = box.sent()
        assert "gas_co2" not in body["cmps"]
        assert "gas_co2_sigma" in body["cmps"]
    assert caplog.text.count("gas_co2: methane is no class for a sensor") == 1


def test_every_lasting_topic_is_known():
    kept = retained(EVERYTHING, TOPICS)
    root = "spectrophone/box1"
    assert kept >= {f"{root}/{name}" for name in ("status", "info", "problem", "laser", "laser_ready", "led/status")}
    assert f"{root}/laser_ready" not in retained(replace(FACE, outputs=()), TOPICS)


@pytest.mark.parametrize("base", ["spectrophone", "gas"])
def test_another_base_topic_empties_the_old_ones(base):
    box = Box()
    box.sent()
    home = HomeAssistantSection()
    other = Announcer(settings(), home, FACE, Topics(base, "box1"), Registry(box.kept[-1]), box.kept.append)
    emptied = {m.topic for m in other.messages() if not m.payload}
    assert emptied == (set() if base == "spectrophone" else retained(FACE, TOPICS))
