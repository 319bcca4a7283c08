"""The options of the Kafka driver, and which of librdkafka's properties may be set beside them.

A property that is set has an effect, and none may undo what the driver promises: so there is a list of those that are
accepted, and their values are tried on librdkafka itself.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from gateway.config.document import nearest
from gateway.config.sections import Tls
from gateway.config.settings import Settings

FIXED: Mapping[str, str] = {
    "acks": "all",
    "enable.idempotence": "true",
    "message.timeout.ms": "0",
    "partitioner": "murmur2_random",
    "log.connection.close": "false",
}
"""What the promise rests on: acknowledged by all replicas, never given up, a box always in the same partition (the one
that Java's producers choose for that key)."""
USUAL: Mapping[str, str] = {
    "queue.buffering.max.messages": "10000",
    "queue.buffering.max.kbytes": "8192",
    "batch.size": "65536",
    "linger.ms": "5",
    "socket.keepalive.enable": "true",
}
"""What a box of 512 MB can afford, unless producer_configs says otherwise."""
# fmt: off
TUNABLE = frozenset((
    "batch.num.messages", "batch.size", "broker.address.family", "broker.address.ttl", "client.dns.lookup", "client.id",
    "compression.codec", "compression.level", "compression.type", "connections.max.idle.ms", "linger.ms",
    "max.in.flight", "max.in.flight.requests.per.connection", "message.max.bytes", "metadata.max.age.ms",
    "queue.buffering.max.kbytes", "queue.buffering.max.messages", "queue.buffering.max.ms", "reconnect.backoff.max.ms",
    "reconnect.backoff.ms", "request.timeout.ms", "retry.backoff.max.ms", "retry.backoff.ms",
    "socket.connection.setup.timeout.ms", "socket.keepalive.enable", "socket.nagle.disable", "socket.send.buffer.bytes",
    "socket.timeout.ms", "topic.metadata.propagation.max.ms", "topic.metadata.refresh.interval.ms",
))
# fmt: on
"""The properties of librdkafka that producer_configs may set."""
_NEVER = "no message is ever given up; take it out"
_OWN = {
    r"acks|request\.required\.acks": "every replica must acknowledge; take it out, or write all",
    r"enable\.idempotence": "without it messages are repeated and change places; take it out",
    r"retries|message\.send\.max\.retries|(message|delivery)\.timeout\.ms": _NEVER,
    r"partitioner": "the key decides, so that a box stays in its partition; take it out",
    r"bootstrap\.servers|metadata\.broker\.list": "write bootstrap_servers",
    r"ssl\..*|enable\.ssl\..*|security\.protocol": "write tls",
    r"sasl\..*": "write sasl",
}
"""Properties that are ours, and what to do instead."""
_GRANTED = {("acks", "all"), ("acks", "-1"), ("enable.idempotence", "true")}
_SERVER = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")


class Sasl(Settings):
    """Who we are, for the brokers."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(description="how the password is shown")
    username: str = Field(min_length=1, description="user name")
    password: SecretStr = Field(description="password; write it as !secret name")


class KafkaSettings(Settings):
    """A topic of a Kafka cluster: a message per entry, keyed by the box."""

    bootstrap_servers: str = Field(description='brokers to ask first: "host:9092,host:9092"')
    topic: str = Field(
        "spectrophone", pattern=r"^[A-Za-z0-9._-]{1,249}$", description="the topic; all boxes may share one"
    )
    tls: Tls | None = Field(None, description="present: encrypted, even when empty ({})")
    sasl: Sasl | None = Field(None, description="user and password, where the brokers ask for them")
    compression: Literal["none", "gzip", "lz4", "zstd", "snappy"] = Field("lz4", description="of what travels")
    timeout_ms: int = Field(
        30_000, ge=100, le=600_000, description="without an answer for this long the brokers count as away"
    )
    producer_configs: dict[str, str] = Field(
        default_factory=dict, description='further properties of librdkafka\'s producer, such as linger.ms: "50"'
    )

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, text: str) -> str:
        servers = [server.strip() for server in text.split(",")]
        for server in servers:
            parts = _SERVER.fullmatch(server)
            if parts is None or not 0 < int(parts[2]) < 65536:
                raise ValueError(f"'{server}' is no broker's address. Write host:port, with commas between several")
        return ",".join(servers)

    @field_validator("tls")
    @classmethod
    def _possible(cls, tls: Tls | None) -> Tls | None:
        if tls is not None and tls.server_name is not None:
            raise ValueError("Kafka's brokers are known by their own names only. Take server_name out")
        if tls is not None and (tls.certificate is None) != (tls.key is None):
            raise ValueError("a certificate and its key belong together. Give both, or neither")
        return tls

    @field_validator("producer_configs")
    @classmethod
    def _properties(cls, configs: dict[str, str]) -> dict[str, str]:
        faults = [*_wrong_names(configs)] or [*_wrong_values(configs)]
        if faults:
            raise ValueError("; ".join(faults))
        return configs

    @model_validator(mode="after")
    def _one_compression(self) -> KafkaSettings:
        for name in ("compression.type", "compression.codec"):
            if name in self.producer_configs and "compression" in self.model_fields_set:
                raise ValueError(f"the compression is given twice. Take {name} out of producer_configs")
        return self

    def producer(self, name: str) -> dict[str, str]:
        """The properties of the producer `name`, with the password in them."""
        security = ("SASL_" if self.sasl else "") + ("SSL" if self.tls else "PLAINTEXT")
        told = {
            "bootstrap.servers": self.bootstrap_servers,
            "client.id": name,
            "compression.type": self.compression,
            "security.protocol": security,
            **USUAL,
            **self.producer_configs,
            **FIXED,
        }
        if self.tls is not None:
            told |= {"ssl.endpoint.identification.algorithm": "https", "ssl.ca.location": str(self.tls.ca or "probe")}
            told |= {option: str(file) for option, file in self.files() if option != "ssl.ca.location"}
        if self.sasl is not None:
            secret = self.sasl.password.get_secret_value()
            told |= {"sasl.mechanism": self.sasl.mechanism, "sasl.username": self.sasl.username}
            told["sasl.password"] = secret
        return told

    def files(self) -> Iterator[tuple[str, Path]]:
        """The files of `tls`, with librdkafka's names for them."""
        if self.tls is not None:
            files = {"ca": self.tls.ca, "certificate": self.tls.certificate, "key": self.tls.key}
            yield from ((f"ssl.{name}.location", file) for name, file in files.items() if file is not None)


def _wrong_names(configs: Mapping[str, str]) -> Iterator[str]:
    for name, value in configs.items():
        if name in TUNABLE or (name, value) in _GRANTED:
            continue
        own = next((advice for pattern, advice in _OWN.items() if re.fullmatch(pattern, name)), None)
        yield f"'{name}' is not for producer_configs: {own}" if own else f"unknown '{name}'. {nearest(name, TUNABLE)}"


def _wrong_values(configs: Mapping[str, str]) -> Iterator[str]:
    """What librdkafka itself says, where it is installed: of each property, or else of all together."""
    if not configs or importlib.util.find_spec("confluent_kafka") is None:
        return
    faults = {f"'{name}' cannot be '{value}'": _tried({name: value}) for name, value in configs.items()}
    if not any(faults.values()):
        faults = {"these do not go together": _tried(configs)}
    yield from (f"{what} ({said})" for what, said in faults.items() if said)


def _tried(configs: Mapping[str, str]) -> str:
    """What speaks against a producer of these properties; one that knows no broker touches no network."""
    import confluent_kafka

    silent = logging.Logger("silent", logging.CRITICAL + 1)
    try:
        confluent_kafka.Producer({**USUAL, **configs, **FIXED}, logger=silent)
    except confluent_kafka.KafkaException as error:
        return str(error.args[0].str()).strip().removeprefix("Failed to create producer: ").replace('"', "'")
    return ""
