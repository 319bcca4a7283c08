"""A traffic light and a fan: LED and relay by level of concentration, with hysteresis.

    - id: led_control
      type: python_action
      parameters:
        python_script_path: user_scripts/led_control.py
        python_class_name: LedControl
        monitored_nodes: [co2_concentration]
        update_interval_ms: 1000
        outputs: [led/status, relay/fan]
        python_config:
          hysteresis_ppm: 50
          levels:
            - {above: 0, set: {led/status: green, relay/fan: false}}
            - {above: 800, set: {led/status: yellow, relay/fan: false}}
            - {above: 1200, set: {led/status: red, relay/fan: true}}
          no_value: {led/status: blue}                   # while there is no valid concentration

A level begins above its limit, and ends when the concentration is the hysteresis below it. Which names and colours
there are says the board's description (`spectrophone board show`).
"""

from gateway.scripts.api import CustomPythonAction, GatewayAPI


class LedControl(CustomPythonAction):
    def __init__(self, api: GatewayAPI) -> None:
        self.api = api
        self.node = api.get_monitored_node_ids()[0]
        self.levels = sorted(api.get_node_parameter("levels", []), key=lambda level: level["above"])
        self.hysteresis_ppm = api.get_node_parameter("hysteresis_ppm", 0)
        self.level = 0
        self.shown = {}

    def on_update(self, computing_data: dict) -> None:
        ppm = self.api.get_concentration_data(self.node)
        if ppm is None:
            self.show(self.api.get_node_parameter("no_value", {}))
            return
        while self.level > 0 and ppm < self.levels[self.level]["above"] - self.hysteresis_ppm:
            self.level -= 1
        while self.level + 1 < len(self.levels) and ppm > self.levels[self.level + 1]["above"]:
            self.level += 1
        self.show(self.levels[self.level]["set"])

    def show(self, wanted: dict) -> None:
        """Set what differs. What is not taken now (too many changes in a short time) is set with the next update."""
        for name, value in wanted.items():
            if self.shown.get(name) != value and self.api.set_output(name, value):
                self.shown[name] = value

    def get_status(self) -> dict:
        return {"level": self.level, "outputs": self.shown}
