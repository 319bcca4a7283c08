"""A warning before a threshold is crossed: the trend of the last minutes, and the time that it leaves.

    - id: predictive
      type: python_action
      parameters:
        python_script_path: user_scripts/predictive.py
        python_class_name: Predictive
        monitored_nodes: [co2_concentration]
        buffer_size: 900                                 # measurements that the trend is taken of
        update_interval_ms: 10000
        concentration_threshold: 1000                    # ppm
        allowed_imports: [numpy]
        python_config: {horizon_s: 1800, least_span_s: 120}

A straight line is fitted to the measurements, each weighted by its uncertainty; where they scatter about the line by
more than that, the scatter counts. The notification comes once, when the rise is certain (four standard deviations)
and the threshold is nearer than the horizon, and again only after the rise has come to an end.
"""

import numpy as np

from gateway.scripts.api import CustomPythonAction, GatewayAPI


class Predictive(CustomPythonAction):
    def __init__(self, api: GatewayAPI) -> None:
        self.api, self.node = api, api.get_monitored_node_ids()[0]
        self.threshold_ppm = api.get_node_parameter("concentration_threshold", 1000.0)
        self.horizon_s = api.get_node_parameter("horizon_s", 1800)
        self.least_span_s = api.get_node_parameter("least_span_s", 120)
        self.forecast, self.told = {}, False

    def on_update(self, computing_data: dict) -> None:
        self.forecast = self.look_ahead()
        if not self.forecast:
            self.told = False
        elif not self.told and self.forecast["seconds"] < self.horizon_s:
            minutes, sigma = self.forecast["seconds"] / 60, self.forecast["sigma_seconds"] / 60
            text = f"{self.node}: {self.threshold_ppm:g} ppm in {minutes:.1f} ± {sigma:.1f} min"
            rise = f"now {self.forecast['ppm']:.5g} ppm, rising by {self.forecast['ppm_per_s'] * 60:.3g} ppm/min"
            self.told = self.api.trigger_notification(f"{text} ({rise})", "warning")

    def look_ahead(self) -> dict:
        """Where the line is now, how fast it rises, and when it crosses the threshold; nothing while it does not."""
        entries = [
            (entry["timestamp"], entry["concentration_ppm"], entry["uncertainty_ppm"])
            for entry in self.api.get_recent_entries(self.api.get_history_count())
            if entry["source_node_id"] == self.node and entry["valid"]
        ]
        if len(entries) < 10 or entries[0][0] - entries[-1][0] < self.least_span_s:
            return {}
        time, ppm, sigma = np.array(entries, float).T
        time -= time[0]  # the newest is first: the line's value at 0 is the one of now
        (slope, now), covariance = np.polyfit(time, ppm, 1, w=1 / sigma, cov="unscaled")
        residuals = (ppm - slope * time - now) / sigma
        covariance *= max(1.0, residuals @ residuals / (len(entries) - 2))
        if now >= self.threshold_ppm or slope < 4 * np.sqrt(covariance[0, 0]):
            return {}
        seconds = (self.threshold_ppm - now) / slope
        gradient = np.array([-seconds / slope, -1 / slope])  # of seconds, by slope and by now
        found = {"ppm": now, "ppm_per_s": slope, "seconds": seconds}
        found["sigma_seconds"] = np.sqrt(gradient @ covariance @ gradient)
        return {name: float(value) for name, value in found.items()}

    def get_status(self) -> dict:
        return {"forecast": self.forecast}
