"""Alerts to a web service: one HTTPS POST each, in the form that the service wants, repeated if it does not take it.

    - id: webhook
      type: universal_action
      parameters:
        monitored_nodes: [co2_concentration]
        concentration_threshold: 1000                    # ppm
        driver:
          type: python
          config:
            script_path: user_scripts/webhook.py
            timeout_ms: 15000
            allowed_imports: [collections, http, json, ssl, time, urllib]
            network: ["hooks.example.org:443", "pager.example.org:443"]
            python_config:
              url: https://hooks.example.org/co2
              headers: {Authorization: "Bearer ${HOOK_TOKEN}"}
              template: {title: "{severity}: {source_node_id}", text: "{message}", state: "{state}"}
              escalation: {url: "https://pager.example.org/page", after: 3, within_s: 3600}

A template may name all fields of an alert and of its data. The third alert of an hour goes to the escalation too.
"""

import json
import ssl
from collections import deque
from http.client import HTTPException
from time import monotonic, sleep
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

LATER = (408, 425, 429, 500, 502, 503, 504)


def initialize(config):
    global settings, raised
    settings, raised = config, {}


def on_alert(alert):
    words = alert["data"] | alert
    body, urls = json.dumps(filled(settings["template"], words)).encode(), [settings["url"]]
    if words["state"] == "raised" and repeated(words["source_node_id"], words["timestamp"]):
        urls.append(settings["escalation"]["url"])
    patience_s = 0.8 * settings.get("timeout_ms", 5000) / 1000 / len(urls)
    if faults := [fault for url in urls if (fault := post(url, body, words["key"], monotonic() + patience_s))]:
        raise ConnectionError("; ".join(faults))


def filled(template, words):
    if isinstance(template, dict):
        return {name: filled(inner, words) for name, inner in template.items()}
    return template.format_map(words) if isinstance(template, str) else template


def repeated(node, now):
    rule = settings.get("escalation", {"after": 0})
    times = raised.setdefault(node, deque(maxlen=rule["after"]))
    times.append(now)
    return 0 < rule["after"] == len(times) and now <= times[0] + rule["within_s"]


def post(url, body, key, deadline):
    """What went wrong in the end, or "". It names the server only: the path of a url is often a secret."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": key} | settings.get("headers", {})
    tls, server, pause_s = ssl.create_default_context(cafile=settings.get("ca_file")), urlsplit(url).netloc, 0.5
    while True:
        try:
            with urlopen(Request(url, body, headers), timeout=max(0.1, deadline - monotonic()), context=tls):
                return ""
        except HTTPError as error:
            fault, again = f"{server} answers {error.code} {error.reason}", error.code in LATER
        except (OSError, HTTPException) as error:
            fault, again = f"{server} cannot be reached: {error}", True
        if not again or monotonic() + pause_s >= deadline:
            return fault
        sleep(pause_s)
        pause_s *= 2
