"""What is gone is taken back in two steps, as often as it takes, and a broken file costs nothing but that."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.mqtt.registry import Registry, RegistryFile, registry_file

T = "homeassistant/device/a/config"
TOPICS = {"a/status", "a/laser"}


def box(*components):
    """A message with these components, written "key" or "key platform"."""
    pairs = [(*component.split(), "sensor")[:2] for component in components]
    return {"dev": {"ids": ["a"]}, "cmps": {key: {"p": platform, "name": key} for key, platform in pairs}}


def known(*components, topic=T, retained=TOPICS):
    """A registry that has announced those, and was read from its file since."""
    registry = Registry()
    registry.announce(topic, box(*components), retained, born=False)
    return Registry(registry.text())


def shape(steps):
    """Topics, and of each component whether it is whole or a platform only."""
    return [
        (topic, None if body is None else {key: (c["p"], "name" in c) for key, c in body["cmps"].items()})
        for topic, body in steps
    ]


def test_what_is_as_it_was_takes_one_message():
    assert known("x", "y").announce(T, box("x", "y"), TOPICS, born=False) == [(T, box("x", "y"))]


def test_what_is_gone_is_told_as_it_was_then_as_its_platform_then_left_out():
    x, y = ("sensor", True), ("sensor", True)
    assert shape(known("x", "y").announce(T, box("x"), TOPICS, born=False)) == [
        (T, {"x": x, "y": y}),
        (T, {"x": x, "y": ("sensor", False)}),
        (T, {"x": x}),
    ]


def test_another_platform_under_the_same_key_takes_the_old_one_back_first():
    steps = known("x switch").announce(T, box("x sensor"), TOPICS, born=False)
    assert [body["cmps"]["x"].get("p") for _, body in steps if body] == ["switch", "switch", "sensor"]
    assert "name" not in steps[1][1]["cmps"]["x"]


def test_it_is_taken_back_again_until_home_assistant_has_started_since():
    registry = known("x", "y")
    assert len(registry.announce(T, box("x"), TOPICS, born=False)) == 3
    registry = Registry(registry.text())
    assert len(registry.announce(T, box("x"), TOPICS, born=False)) == 3
    assert len(registry.announce(T, box("x"), TOPICS, born=True)) == 3
    again = Registry(registry.text())
    for begun_since in (registry, again):
        assert len(begun_since.announce(T, box("x"), TOPICS, born=False)) == 1


def test_what_comes_again_is_not_taken_back():
    registry = known("x", "y")
    registry.announce(T, box("x"), TOPICS, born=False)
    assert registry.announce(T, box("x", "y"), TOPICS, born=False) == [(T, box("x", "y"))]


def test_a_box_of_another_name_leaves_neither_device_nor_topics():
    registry = known("x")
    steps = registry.announce("homeassistant/device/b/config", box("x"), {"b/status"}, born=True)
    assert [(topic, body is None) for topic, body in steps] == [
        (T, False),
        (T, True),
        ("homeassistant/device/b/config", False),
        ("a/laser", True),
        ("a/status", True),
    ]
    assert len(registry.announce("homeassistant/device/b/config", box("x"), {"b/status"}, born=False)) == 1


def test_what_the_old_name_had_lost_before_goes_with_it():
    registry = known("x", "y")
    registry.announce(T, box("x"), TOPICS, born=False)
    (_, old), *_ = registry.announce("other/config", box("x"), TOPICS, born=False)
    assert old is not None
    assert set(old["cmps"]) == {"x", "y"}


def test_without_discovery_the_device_goes():
    steps = known("x").announce("", {"cmps": {}}, TOPICS, born=False)
    assert [(topic, body is None) for topic, body in steps] == [(T, False), (T, True)]
    assert Registry().announce("", {"cmps": {}}, TOPICS, born=False) == []


def test_a_topic_that_nobody_writes_any_more_is_emptied():
    steps = known("x").announce(T, box("x"), {"a/status"}, born=False)
    assert steps[1:] == [("a/laser", None)]


def test_the_file_goes_with_the_configuration_whatever_the_box_is_called(tmp_path):
    there = tmp_path / "config.yaml"
    assert registry_file(tmp_path, "a", there) == registry_file(tmp_path, "b", there)
    assert registry_file(tmp_path, "a", None) != registry_file(tmp_path, "b", None)
    assert registry_file(tmp_path, "a", there) != registry_file(tmp_path, "a", tmp_path / "other.yaml")


def keep(file, *texts):
    async def scene():
        keeper = RegistryFile(file)
        for text in texts:
            keeper.keep(text)
        await keeper.close()

    asyncio.run(scene())


def test_the_newest_text_is_in_the_file(tmp_path):
    file = tmp_path / "state" / "discovery.json"
    texts = [known(name).text() for name in ("x", "y", "z")]
    keep(file, *texts)
    assert file.read_text() == texts[-1]
    assert RegistryFile(file).load().text() == texts[-1]
    assert [path.name for path in file.parent.iterdir()] == ["discovery.json"]


def without(name):
    data = json.loads(known("x").text())
    del data[name]
    return json.dumps(data)


def with_(**changes):
    return json.dumps(json.loads(known("x").text()) | changes)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "null", "7", '"text"', "{}", "[" * 100_000),
        *(without(name) for name in json.loads(known("x").text())),
        *(with_(format=2), with_(topic=3), with_(payload={}), with_(payload={"cmps": {"x": 1}})),
        *(with_(gone={"y": {}}), with_(left={"t": 1}), with_(retained=[1]), with_(decimals={"co2": "two"})),
    ],
)
def test_a_broken_file_is_told_of_and_written_anew(tmp_path, caplog, text):
    file = tmp_path / "discovery.json"
    file.write_text(text)
    registry = RegistryFile(file).load()
    assert registry.text() == Registry().text()
    assert caplog.text.count("written anew") == 1
    assert len(registry.announce(T, box("x"), TOPICS, born=False)) == 1


def test_a_directory_that_cannot_be_written_is_told_of(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    keep(tmp_path / "file" / "discovery.json", known("x").text())
    assert "cannot be kept" in caplog.text


def test_without_a_file_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    keep(None, known("x").text())
    assert RegistryFile(None).load().text() == Registry().text()
    assert not list(tmp_path.iterdir())
