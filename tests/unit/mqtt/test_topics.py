"""Names of topics, and the way back from a command's topic to its target."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.mqtt.topics import Topics

TOPICS = Topics("home/gas/", "box1")


def test_names():
    assert TOPICS.status == "home/gas/box1/status"
    assert TOPICS.measurement("co2") == "home/gas/box1/measurement/co2"
    assert TOPICS.command("relay/fan") == "home/gas/box1/relay/fan/set"
    assert TOPICS.commands == ("home/gas/box1/+/set", "home/gas/box1/+/+/set")


def test_a_command_leads_back_to_its_target():
    for target in ("laser", "relay/fan", "led/status", "cell"):
        assert TOPICS.parse_set(TOPICS.command(target)) == target


@given(st.text())
def test_no_topic_raises(topic):
    for name in (topic, f"home/gas/box1/{topic}", f"home/gas/box1/{topic}/set"):
        target = TOPICS.parse_set(name)
        assert target is None or TOPICS.command(target) == name
        TOPICS.may_answer(name)
        TOPICS.is_shown(name)
