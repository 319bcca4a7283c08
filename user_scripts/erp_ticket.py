"""A ticket for each alert: opened when it is raised, closed when it clears, through a REST interface.

    - id: erp_ticket
      type: universal_action
      parameters:
        monitored_nodes: [co2_concentration]
        concentration_threshold: 1000                    # ppm
        alert_after_s: 60
        driver:
          type: python
          config:
            script_path: user_scripts/erp_ticket.py
            timeout_ms: 20000
            allowed_imports: [collections, json, ssl, urllib]
            network: ["erp.example.org:443"]
            python_config:
              url: https://erp.example.org/api/tickets
              token: "${ERP_TOKEN}"
              fields: {project: LAB, priority: high}     # what else a new ticket has

It asks `GET ?reference=BOX/RULE&status=open` first, so that no repeat or restart opens a second one, then opens it by
POST, or comments on it and closes it by PATCH /ID. What the ERP does not take is tried again, in order, once a minute.
"""

import json
import ssl
from collections import deque
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

waiting = deque(maxlen=100)


def initialize(config):
    global settings, tls, tried
    settings, tls, tried = config, ssl.create_default_context(cafile=config.get("ca_file")), 0


def on_alert(alert):
    waiting.append(alert)
    work(alert["timestamp"])


def on_measurement(measurement):
    if waiting and measurement["timestamp"] >= tried + 60:
        work(measurement["timestamp"])


def work(now):
    global tried
    tried = now
    while waiting:
        try:
            tell(waiting[0])
        except OSError as error:
            if getattr(error, "code", 0) in (400, 409, 422):  # this one it will never take
                waiting.popleft()
            raise ConnectionError(f"{len(waiting)} alert(s) wait for the ERP: {error}") from error
        waiting.popleft()


def tell(alert):
    data, raised = alert["data"], alert["data"]["state"] == "raised"
    reference = f"{data['box']}/{data['rule']}"
    tickets = ask("GET", "?" + urlencode({"reference": reference, "status": "open"}))
    if tickets:
        change = {"comment": alert["message"]} | ({} if raised else {"status": "closed"})
        ask("PATCH", "/" + quote(str(tickets[0]["id"]), safe=""), change, data["key"])
    elif raised:
        ticket = {"reference": reference, "status": "open", "title": f"[{alert['severity']}] {alert['message']}"}
        ask("POST", "", ticket | settings.get("fields", {}), data["key"])


def ask(method, path, content=None, key=""):
    headers = {"Authorization": f"Bearer {settings['token']}", "Content-Type": "application/json"}
    headers, body = headers | {"Idempotency-Key": key}, json.dumps(content).encode() if content else None
    request = Request(settings["url"] + path, body, headers, method=method)
    with urlopen(request, timeout=settings.get("timeout_s", 5), context=tls) as answer:
        return json.load(answer) if method == "GET" else None
