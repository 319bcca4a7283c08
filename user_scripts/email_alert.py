"""A mail when an alert is raised, over SMTP with STARTTLS and login.

    - id: email_alert
      type: python_action
      parameters:
        python_script_path: user_scripts/email_alert.py
        python_class_name: EmailAlert
        monitored_nodes: [co2_concentration]
        concentration_threshold: 1000                    # ppm
        python_timeout_ms: 30000
        allowed_imports: [datetime, email, smtplib, ssl]
        network: ["smtp.example.org:587"]
        python_config:
          smtp_server: smtp.example.org                  # and smtp_port, 587 if absent
          username: box@example.org
          password: "${EMAIL_PASSWORD}"
          recipients: {warning: [lab@example.org], critical: [lab@example.org, on-call@example.org]}
          cool_down_s: 900                               # no second mail about a node before, unless it got worse

A mail that cannot go out is tried again, once a minute for an hour.
"""

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage

from gateway.scripts.api import CustomPythonAction, GatewayAPI

SEVERITIES = ("info", "warning", "critical")


class EmailAlert(CustomPythonAction):
    def __init__(self, api: GatewayAPI) -> None:
        self.api, self.config = api, api.get_node_config()
        self.told, self.tried = {}, 0  # told, by node: when the last mail was written, and how bad it was
        self.outbox = []  # mails that wait: when each was written, and the mail

    def on_trigger(self, trigger_type: str, data: dict) -> bool:
        node, now, rank = data["source_node_id"], data["timestamp"], SEVERITIES.index(data["severity"])
        when, worst = self.told.get(node, (0, -1))
        recipients = self.config["recipients"].get(data["severity"])
        if not recipients or (rank <= worst and now < when + self.config.get("cool_down_s", 900)):
            return False
        self.told[node] = now, rank
        self.outbox.append((now, self.mail(", ".join(recipients), data)))
        self.send(now)
        return True

    def on_update(self, computing_data: dict) -> None:
        now = computing_data["timestamp"]
        self.outbox = [(written, mail) for written, mail in self.outbox if now < written + 3600]
        if self.outbox and now >= self.tried + 60:
            self.send(now)

    def mail(self, recipients: str, data: dict) -> EmailMessage:
        mail, node, unit = EmailMessage(), data["source_node_id"], " ppm" if data["type"] == "concentration" else ""
        value = "no value" if data["value"] is None else f"{data['value']:.6g}{self.sigma(node, unit)}{unit}"
        mail["Subject"] = f"[{data['severity']}] {node}: {value}"
        mail["From"], mail["To"] = self.config["username"], recipients
        mail["Date"] = datetime.fromtimestamp(data["timestamp"], UTC)
        mail.set_content(f"{node}: {value}\nThreshold: {data['threshold']:g}{unit}\nTime: {mail['Date']}\n")
        return mail

    def sigma(self, node: str, unit: str) -> str:
        sigmas = [each["uncertainty_ppm"] for each in self.api.get_recent_entries(20) if each["source_node_id"] == node]
        return f" ± {sigmas[0]:.2g}" if unit and sigmas and sigmas[0] is not None else ""

    def send(self, now: int) -> None:
        server, port, self.tried = self.config["smtp_server"], self.config.get("smtp_port", 587), now
        try:
            with smtplib.SMTP(server, port, timeout=self.config.get("timeout_s", 10)) as session:
                session.starttls(context=ssl.create_default_context(cafile=self.config.get("ca_file")))
                session.login(self.config["username"], self.config["password"])
                while self.outbox:
                    session.send_message(self.outbox[0][1])
                    self.outbox.pop(0)
        except OSError as error:  # smtplib's own are OSErrors too
            raise ConnectionError(f"{len(self.outbox)} mail(s) wait, {server}:{port} says: {error}") from error
