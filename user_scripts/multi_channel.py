"""Alerts to Slack, Teams, Discord and an SMS gateway, by severity; what lasts goes to those of the next severity.

    - id: multi_channel
      type: python_action
      parameters:
        python_script_path: user_scripts/multi_channel.py
        python_class_name: MultiChannel
        monitored_nodes: [co2_concentration]
        concentration_threshold: 1000                    # ppm
        severity: warning
        python_timeout_ms: 20000
        allowed_imports: [http, json, ssl, urllib]
        network: ["hooks.slack.com:443", "example.webhook.office.com:443", "discord.com:443", "sms.example.org:443"]
        python_config:
          channels:
            slack: {url: "${SLACK_URL}"}
            teams: {url: "${TEAMS_URL}"}
            discord: {url: "${DISCORD_URL}"}
            sms: {url: "https://sms.example.org/messages", headers: {X-Token: "${SMS_TOKEN}"}, to: ["+43 660 0000000"]}
          routes: {info: [discord], warning: [slack, teams], critical: [slack, teams, discord, sms]}
          escalate_after_s: 1800

All channels of a severity are tried, whatever becomes of the others.
"""

import json
import ssl
from http.client import HTTPException
from urllib.request import Request, urlopen

from gateway.scripts.api import CustomPythonAction, GatewayAPI

SEVERITIES = ("info", "warning", "critical")


def payload(kind: str, text: str, channel: dict) -> dict:
    if kind == "teams":  # a Workflow "when a webhook request is received" wants an adaptive card
        card = {"type": "AdaptiveCard", "version": "1.4", "body": [{"type": "TextBlock", "text": text, "wrap": True}]}
        return {"attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]}
    return {"slack": {"text": text}, "discord": {"content": text}, "sms": {"to": channel.get("to"), "text": text}}[kind]


class MultiChannel(CustomPythonAction):
    def __init__(self, api: GatewayAPI) -> None:
        self.api, self.config = api, api.get_node_config()
        self.raised = {}  # concentrations above their threshold, by node: the newest alert that was told

    def on_trigger(self, trigger_type: str, data: dict) -> bool:
        if trigger_type == "concentration":
            self.raised[data["source_node_id"]] = data
        self.tell(data)
        return True

    def on_update(self, computing_data: dict) -> None:
        now = computing_data["timestamp"]
        for node, data in list(self.raised.items()):
            ppm, rank = self.api.get_concentration_data(node), SEVERITIES.index(data["severity"])
            if ppm is not None and ppm <= data["threshold"]:
                del self.raised[node]
            elif rank < 2 and now >= data["timestamp"] + self.config["escalate_after_s"]:
                self.raised[node] = data | {"severity": SEVERITIES[rank + 1], "timestamp": now, "value": ppm}
                self.tell(self.raised[node])

    def tell(self, data: dict) -> None:
        value = "no valid value" if data["value"] is None else f"{data['value']:.6g}"
        text, faults = f"{data['severity']}: {data['source_node_id']} {value} (threshold {data['threshold']:g})", []
        for name in self.config["routes"].get(data["severity"], []):
            try:
                self.post(name, self.config["channels"][name], text)
            except (OSError, HTTPException) as error:
                faults.append(f"{name}: {error}")
        if faults:
            raise ConnectionError(f"not told: {'; '.join(faults)}")

    def post(self, kind: str, channel: dict, text: str) -> None:
        headers = {"Content-Type": "application/json"} | channel.get("headers", {})
        request = Request(channel["url"], json.dumps(payload(kind, text, channel)).encode(), headers)
        tls = ssl.create_default_context(cafile=self.config.get("ca_file"))
        urlopen(request, timeout=self.config.get("timeout_s", 4), context=tls).close()
