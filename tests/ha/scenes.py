"""What is tried on a real Home Assistant beside restarts: what it shows and commands, and what must not come back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from tests.ha.home import Failure, never, wait
from tests.ha.stage import ALARM_PPM, DISCOVERY, EXPIRE_S, GAS, LOST, LOW_PPM, ROOT, Stage

TWO_GASES = """\
processing:
  default_graph:
    id: default
    nodes:
      - {id: input, type: input}
      - {id: preamp, type: gain, parameters: {gain_db: 12}}
      - {id: differential, type: differential}
      - {id: co2_lock_in, type: lock_in, parameters: {integration_s: 1.0}}
      - id: co2_concentration
        type: concentration
        parameters: {source: co2_lock_in, polynomial_coefficients: [0, 41000, 0, 0, 0]}
      - id: second
        type: concentration
        parameters: {source: co2_lock_in, polynomial_coefficients: [0, 20500, 0, 0, 0]}
      - {id: output, type: output}
    connections: []
"""
RENAMED = TWO_GASES.replace("id: second", "id: other")
ONE_GAS = TWO_GASES[: TWO_GASES.index("      - id: second")] + TWO_GASES[TWO_GASES.index("      - {id: output") :]
WATCH_S = EXPIRE_S + 5.0


def starts(stage: Stage) -> None:
    """Every entity is announced without a fault, is there and shows the truth."""
    stage.announced()
    stage.current(f"all {len(stage.components)} entities are there and current", 120)


def shows(stage: Stage) -> None:
    """Units and classes are as announced."""
    states = stage.home.states()
    for key, component in stage.components.items():
        state = states[stage.entity(key)]
        about = state["attributes"]
        words = [str(about.get(k, "-")) for k in ("unit_of_measurement", "device_class", "friendly_name")]
        print(f"      {stage.entity(key)} = {state['state']} | {' | '.join(words)}")
        for ours, theirs in (("unit_of_meas", "unit_of_measurement"), ("dev_cla", "device_class")):
            # Home Assistant has another letter for the same micro sign.
            if str(component.get(ours)).replace("µ", "μ") != str(about.get(theirs)).replace("µ", "μ"):
                raise Failure(f"{stage.entity(key)}: {theirs} is {about.get(theirs)}, not {component.get(ours)}")
    print("ok    units and classes are as announced")


def obeys(stage: Stage) -> None:
    """Home Assistant commands, and the box obeys."""
    gas, alarm = f"gas_{GAS}", stage.key_of("gas")
    stage.obeys("laser", "switch/turn_off", "off")
    wait("without the laser there is no value", lambda: math.isnan(stage.value(gas)))
    stage.becomes("problem", "on")
    stage.obeys("laser", "switch/turn_on", "on")
    wait("with the laser there is one again", lambda: abs(stage.value(gas) - LOW_PPM) < 40)
    stage.obeys("relay_valve", "switch/turn_on", "on")
    stage.obeys("relay_valve", "switch/turn_off", "off")
    stage.obeys("led_status", "light/turn_on", "on", effect="cyan")
    wait("the light has its effect", lambda: _about(stage, "led_status").get("effect") == "cyan")
    stage.obeys("led_status", "light/turn_off", "off")
    stage.obeys("led_status", "light/turn_on", "on", effect="auto")
    stage.obeys("cell", "number/set_value", "1200.0", value=1200)
    wait("the concentration follows", lambda: abs(stage.value(gas) - 1200) < 60)
    stage.becomes(alarm, "on")
    stage.becomes("relay_fan", "on")
    wait("the alarm is an event", lambda: stage.home.state(stage.entity("alarm")) not in LOST)
    stage.obeys("cell", "number/set_value", f"{LOW_PPM}.0", value=LOW_PPM)
    stage.becomes(alarm, "off")
    stage.becomes("relay_fan", "off")


def tunes(stage: Stage) -> None:
    """Thresholds and integration times are numbers that the box takes over."""
    alarm = stage.key_of("gas")
    threshold, node = alarm.replace("alarm_", "threshold_"), GAS.replace("concentration", "lock_in")
    stage.obeys(threshold, "number/set_value", "300", value=300)
    stage.becomes(alarm, "on")
    stage.obeys(threshold, "number/set_value", str(ALARM_PPM), value=ALARM_PPM)
    stage.becomes(alarm, "off")
    stage.obeys(f"integration_{node}", "number/set_value", "2", value=2)
    wait("a record lasts two seconds", lambda: _told(stage, f"signal/{node}").get("integration_s") == 2)
    stage.obeys(f"integration_{node}", "number/set_value", "1", value=1)
    stage.current("the box is as before")


def lives(stage: Stage) -> None:
    """Identify, sweep, safe mode and restart are asked for in Home Assistant, and happen."""
    stage.press("identify_identify")
    wait("the LED flashes", lambda: _about(stage, "led_status").get("effect") == "identify")
    wait("and no longer", lambda: _about(stage, "led_status").get("effect") != "identify")
    stage.press("sweep_sweep")
    wait("the box sweeps", lambda: re.fullmatch("sweeping [1-9][0-9]? %", stage.home.state(stage.entity("sweep"))))
    stage.press("sweep_cancel")
    stage.becomes("sweep", "idle")
    stage.obeys("safe_mode", "switch/turn_on", "on")
    stage.becomes("laser", "unavailable")
    stage.obeys("safe_mode", "switch/turn_off", "off")
    stage.becomes("laser", "off")
    stage.obeys("laser", "switch/turn_on", "on")
    stage.press("gateway_restart")
    if (status := stage.box.ends()) != 75:
        raise Failure(f"the gateway ends with {status}, not 75, which asks systemd to start it again")
    print("ok    the gateway ends in order, with a status that asks for another start")
    stage.box.start()
    stage.current("after its restart every entity is current")


def refuses_retained(stage: Stage) -> None:
    """A retained command does nothing, neither now nor after a restart of the gateway; another is answered."""
    laser = f"{ROOT}/laser/set"
    stage.obeys("laser", "switch/turn_off", "off")
    stage.ear.publish(laser, "ON", retain=True)
    wait("a retained laser/set ON is refused", lambda: _answered(stage, "laser", False))
    _still(stage, "laser", "off")
    stage.ear.publish(laser, "ON")
    wait("one that is not retained is done", lambda: _answered(stage, "laser", True))
    stage.becomes("laser", "on")
    stage.ear.publish(laser, "OFF", retain=True)
    stage.box.stop(kill=True)
    stage.box.start()
    stage.current("after a restart of the gateway every entity is current, with laser/set OFF retained at the broker")
    _still(stage, "laser", "on")
    stage.ear.publish(laser, "", retain=True)


def heeds_interlock(stage: Stage) -> None:
    """With the interlock open the laser's switch is unavailable; closed again it can be used, and is off until told."""
    stage.ear.publish(f"{ROOT}/switch/interlock/set", "OFF")
    stage.becomes("laser", "unavailable")
    stage.ear.publish(f"{ROOT}/laser/set", "ON")
    wait("a command to light it is refused", lambda: _answered(stage, "laser", False))
    stage.ear.publish(f"{ROOT}/switch/interlock/set", "ON")
    stage.becomes("laser", "off")
    stage.obeys("laser", "switch/turn_on", "on")


def nothing_stale(stage: Stage) -> None:
    """When the gateway is dead, ended or hangs, its values go, and no restart of Home Assistant brings them back."""
    gas = f"gas_{GAS}"
    for how in ("killed", "ended", "hung"):
        hung = how == "hung"
        if hung:  # the broker tells that nobody is there only after one and a half keep-alives
            stage.box.freeze(True)
        else:
            stage.box.stop(kill=how == "killed")
            stage.becomes("online", "off")
            stage.becomes(gas, "unavailable")
        _restarted(stage)
        stage.becomes(gas, "unavailable", 2 * EXPIRE_S)
        _restarted(stage)
        shown = _values if hung else _alive
        never(f"nothing old comes back: gateway {how}", lambda shown=shown: shown(stage), WATCH_S)  # type: ignore[misc]
        if hung:
            stage.box.freeze(False)
        else:
            stage.box.start()
        stage.current(f"after a restart of the {how} gateway every entity is current")


def _restarted(stage: Stage) -> None:
    """Home Assistant, asked to end and started; it has heard from the broker."""
    stage.home.stop()
    stage.home.start(quiet=True)
    wait("MQTT is up", lambda: stage.home.state(stage.entity("online")) in ("on", "off"), quiet=True)


def no_ghosts(stage: Stage) -> None:
    """A gas that is renamed or removed leaves nothing: not with Home Assistant there, not with it away meanwhile."""
    _configured(stage, TWO_GASES, "two gases")
    _configured(stage, RENAMED, "the second renamed while the gateway was stopped")
    stage.box.write(graph=TWO_GASES)
    stage.box.waits("wait for a restart")
    stage.current("renamed while the gateway runs, it waits for a restart, and the old one lives")
    _configured(stage, TWO_GASES, "after that restart")
    _configured(stage, ONE_GAS, "the second removed")
    _restarted(stage)
    _no_ghost(stage, "after a restart of Home Assistant")
    _configured(stage, TWO_GASES, "two gases again")
    stage.home.stop()
    stage.box.stop()
    stage.box.write(graph=ONE_GAS)
    stage.box.start()
    wait("one is removed while Home Assistant is away", lambda: "gas_second" not in stage.components)
    stage.home.start(quiet=True)
    _no_ghost(stage, "when Home Assistant is back")
    rules = stage.key_of("gas")
    stage.box.write(graph=ONE_GAS, alarm=ALARM_PPM + 10)
    wait("another rule while the gateway runs is announced", lambda: stage.key_of("gas") != rules)
    _no_ghost(stage, "the rule of before")


def _configured(stage: Stage, graph: str, what: str) -> None:
    """The gateway stopped, configured so and started: exactly its entities are there."""
    stage.box.stop()
    before = len(stage.ear.messages)
    stage.box.write(graph=graph)
    stage.box.start()
    wait(f"{what}: announced", lambda: any(m.topic == DISCOVERY for m in stage.ear.messages[before:]), quiet=True)
    _no_ghost(stage, what)


def _no_ghost(stage: Stage, what: str) -> None:
    """Every entity is current, and Home Assistant has no other of the box, not even as unavailable."""
    stage.current(f"{what}: every entity is current")
    try:
        wait("and there is no ghost", lambda: not stage.ghosts(), 15)
    except Failure:
        raise Failure(f"{what}: ghosts: {stage.ghosts()}") from None


def _about(stage: Stage, key: str) -> dict[str, object]:
    found: dict[str, object] = stage.home.states()[stage.entity(key)]["attributes"]
    return found


def _alive(stage: Stage) -> list[str]:
    """Entities that are not unavailable, but for that which says that the box is not connected."""
    states = stage.home.states()
    entities = [stage.entity(key) for key in stage.components if key != "online"]
    return [f"{e} is {states[e]['state']}" for e in entities if e in states and states[e]["state"] != "unavailable"]


def _values(stage: Stage) -> list[str]:
    """Those of them that show what was measured."""
    entities = [stage.entity(key) for key, c in stage.components.items() if c.get("exp_aft") == EXPIRE_S]
    return [shown for shown in _alive(stage) if shown.split()[0] in entities]


def _told(stage: Stage, topic: str) -> Mapping[str, object]:
    """The newest message of a topic of the box."""
    payload = stage.ear.payload(f"{ROOT}/{topic}")
    told: Mapping[str, object] = json.loads(payload) if payload else {}
    return told


def _answered(stage: Stage, target: str, done: bool) -> bool:
    """Whether the newest answer is about that target, and so."""
    told = _told(stage, "result")
    return told.get("target") == target and told.get("done") is done


def _still(stage: Stage, key: str, state: str) -> None:
    """Commands keep their order: once a later one is done, an earlier one has had its effect, if any."""
    stage.ear.publish(f"{ROOT}/relay/valve/set", "ON")
    wait("a later command is done", lambda: _answered(stage, "relay/valve", True))
    stage.obeys("relay_valve", "switch/turn_off", "off")
    if (shown := stage.home.state(stage.entity(key))) != state:
        raise Failure(f"{stage.entity(key)} is {shown}, not {state}")
    print(f"ok    {stage.entity(key)} is still {state}")
