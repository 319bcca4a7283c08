"""`script new`: a script to begin with, in either style. It says in comments what there is, and passes `script check`
and `script try` as it stands.
"""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Literal

from gateway.errors import SpectrophoneError, UsageError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)

_HEAD = '''"""@NAME@: say here in one line what this action does.

Paste its node into the configuration, behind the nodes that it watches, and take out what you do not need:

@NODE@
Look for faults, and see it at work on sample values; both take the node above:
`spectrophone script check @PATH@`
`spectrophone script try @PATH@`
docs/writing-actions.md has the rest.
"""
'''

_CLASS_NODE = """\
    - id: @NAME@
      type: python_action
      parameters:
        python_script_path: @PATH@
        python_class_name: @CLASS@
        monitored_nodes: [co2_concentration]     # whose values it gets
        update_interval_ms: 1000                 # how often on_update is called
        concentration_threshold: 1000            # ppm above which an alert is raised, and on_trigger called
        python_timeout_ms: 5000                  # a call that takes longer is ended; at most 30000
        max_memory_mb: 64                        # at most 512
        allowed_imports: []                      # modules that it may import: [datetime, json]
        network: []                              # servers that it may reach: ["smtp.example.org:587"]
        file_access: []                          # what it may read, or write: ["/var/lib/lab:rw"]
        outputs: []                              # relays and LEDs that it may switch: [relay/fan]
        python_config: {margin_ppm: 100}         # values of your own
"""

_MODULE_NODE = """\
    - id: @NAME@
      type: universal_action
      parameters:
        monitored_nodes: [co2_concentration]     # whose values it gets
        update_interval_ms: 1000                 # how often on_measurement is called
        concentration_threshold: 1000            # ppm above which an alert is raised, and on_alert called
        driver:
          type: python
          config:
            script_path: @PATH@
            timeout_ms: 5000                     # a call that takes longer is ended; at most 30000
            max_memory_mb: 64                    # at most 512
            allowed_imports: []                  # modules that it may import: [datetime, json]
            network: []                          # servers that it may reach: ["smtp.example.org:587"]
            file_access: []                      # what it may read, or write: ["/var/lib/lab:rw"]
            outputs: []                          # relays and LEDs that it may switch: [relay/fan]
            python_config: {margin_ppm: 100}     # values of your own
"""

_CLASS = '''
from gateway.scripts.api import CustomPythonAction, GatewayAPI  # for your editor; both names are there without it


class @CLASS@(CustomPythonAction):
    """One object of this class is made when the script is loaded. What it keeps in `self` stays from call to call."""

    def __init__(self, api: GatewayAPI) -> None:
        super().__init__(api)  # keeps the API as self.api
        # Values of your own stand in python_config, and not in the code; passwords too, as "${NAME}" or !secret NAME.
        limit_ppm = api.get_node_parameter("concentration_threshold", 1000)
        self.near_ppm = limit_ppm - api.get_node_parameter("margin_ppm", 100)
        self.near = False
        self.alerts = 0

    def on_update(self, computing_data: dict) -> None:
        """The newest values, once per update_interval_ms: concentration_ppm, uncertainty_ppm (one standard deviation),
        peak_frequency (Hz), peak_amplitude (full scale), timestamp (seconds since 1970), and nodes with all of them."""
        ppm = computing_data["concentration_ppm"]
        if ppm is None:  # there is no valid value now: no light, no sound, or it has just begun
            return
        near = ppm > self.near_ppm
        if near and not self.near:
            self.api.log_message("info", f"{ppm:.0f} ppm: the limit is near")  # print() goes to the log as well
        self.near = near
        # self.api.set_output("relay/fan", near)  # with `outputs: [relay/fan]`; False where it may not

    def on_trigger(self, trigger_type: str, data: dict) -> bool:
        """An alert was raised: data has type, value, threshold, source_node_id, timestamp and severity. Return True if
        the action did something about it."""
        self.alerts += 1
        value = "no value" if data["value"] is None else f"{data['value']:.0f} ppm"  # None: values stay away
        text = f"{data['source_node_id']}: {value}, the limit is {data['threshold']:.0f} ppm"
        return self.api.trigger_notification(text, data["severity"])

    def get_status(self) -> dict:
        """What status and page show of this action. Plain data: None, bool, int, float, str, list, dict."""
        return {"near": self.near, "alerts": self.alerts}

    def shutdown(self) -> None:
        """The gateway ends, or a newer version of this file takes over: a second to leave everything in order."""
        self.api.log_message("info", f"alerts in all: {self.alerts}")
'''

_MODULE = '''
near = False  # what stands here stays from call to call
alerts = 0


def initialize(config: dict) -> None:
    """Called once. `config` is python_config, with the node's own parameters beneath it."""
    # Values of your own stand in python_config, and not in the code; passwords too, as "${NAME}" or !secret NAME.
    global near_ppm
    near_ppm = config.get("concentration_threshold", 1000) - config.get("margin_ppm", 100)


def on_measurement(measurement: dict) -> None:
    """A measurement: concentration_ppm, uncertainty_ppm (one standard deviation), valid, peak_frequency (Hz),
    peak_amplitude (full scale), source_node_id, timestamp (seconds since 1970), and metadata with all the rest."""
    global near
    ppm = measurement["concentration_ppm"]
    if not measurement["valid"] or ppm is None:  # no light, no sound, or it has just begun
        return
    if ppm > near_ppm and not near:
        api.log_message("info", f"{ppm:.0f} ppm: the limit is near")  # print() goes to the log as well
    near = ppm > near_ppm
    # api.set_output("relay/fan", near)  # with `outputs: [relay/fan]`; False where it may not


def on_alert(alert: dict) -> None:
    """An alert was raised or cleared: alert_type, severity, message, timestamp; data with state, value, threshold."""
    global alerts
    if alert["data"]["state"] == "raised":
        alerts += 1
        api.trigger_notification(alert["message"], alert["severity"])


def get_status() -> dict:
    """What status and page show of this action. Plain data: None, bool, int, float, str, list, dict."""
    return {"near": near, "alerts": alerts}


def shutdown() -> None:
    """The gateway ends, or a newer version of this file takes over: a second to leave everything in order."""
    api.log_message("info", f"alerts in all: {alerts}")
'''


def script(name: str, style: Literal["class", "module"], path: Path) -> str:
    """The text of a new script that will stand at `path`. Raises UsageError for a name that cannot be."""
    name = name.removesuffix(".py")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        remedy = "Take lower-case letters, digits and _, such as co2_mail; the file is called so, and the node"
        raise UsageError(f"'{name}' cannot be the name of a script", remedy)
    node, body = (_CLASS_NODE, _CLASS) if style == "class" else (_MODULE_NODE, _MODULE)
    text = _HEAD + body
    for word, meant in (("NODE", node), ("NAME", name), ("CLASS", class_name(name)), ("PATH", str(path))):
        text = text.replace(f"@{word}@", meant)
    return text


def class_name(name: str) -> str:
    """What the class of a script is called: co2_mail is Co2Mail."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def write(name: str, style: Literal["class", "module"], directory: Path) -> Path:
    """Write a new script into `directory`; its path. Raises UsageError where there is such a file, or the name cannot
    be, and SpectrophoneError where it cannot be written.
    """
    path = directory / f"{name.removesuffix('.py')}.py"
    text = script(name, style, path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is already there", "Give another name, or move it away") from None
    except OSError as error:
        raise SpectrophoneError(f"{path} cannot be written: {error.strerror}", "Give another --out") from None
    return path
