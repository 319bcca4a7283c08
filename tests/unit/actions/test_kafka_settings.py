"""The options of the Kafka driver: what is accepted has an effect, and nothing undoes what the driver promises."""

import importlib.util

import pytest
from confluent_kafka import Producer

from gateway.actions.kafka_settings import FIXED, TUNABLE, KafkaSettings
from gateway.config.document import parse
from gateway.config.validate import validate

SERVERS = "bootstrap_servers: broker-1.example.org:9092,10.0.0.7:9093\n"


def faults(text):
    """What a user reads who wrote that."""
    return [str(fault) for fault in validate(parse(text, "box.yaml", {}), KafkaSettings)[1]]


def settings(text=""):
    """The settings of what a user wrote."""
    document = parse(SERVERS + text, "box.yaml", {})
    found, wrong = validate(document, KafkaSettings)
    assert found is not None, wrong
    return found


def test_what_a_producer_gets():
    told = settings('timeout_ms: 5000\nproducer_configs: {linger.ms: "50", acks: all, enable.idempotence: "true"}')
    properties = told.producer("spectrophone-box-1-cloud")
    assert properties.items() >= FIXED.items()
    assert properties["bootstrap.servers"] == "broker-1.example.org:9092,10.0.0.7:9093"
    assert properties["client.id"] == "spectrophone-box-1-cloud"
    assert properties["linger.ms"] == "50"
    assert properties["compression.type"] == "lz4"
    assert properties["security.protocol"] == "PLAINTEXT"


def test_encryption_and_password():
    told = settings(
        "tls: {ca: /etc/ca.pem, certificate: /etc/box.pem, key: /etc/box.key}\n"
        "sasl: {mechanism: SCRAM-SHA-512, username: box-1, password: open-sesame}\n"
    )
    assert (
        told.producer("x").items()
        >= {
            "security.protocol": "SASL_SSL",
            "ssl.endpoint.identification.algorithm": "https",
            "ssl.ca.location": "/etc/ca.pem",
            "ssl.certificate.location": "/etc/box.pem",
            "ssl.key.location": "/etc/box.key",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "box-1",
            "sasl.password": "open-sesame",
        }.items()
    )
    assert "open-sesame" not in repr(told)


def test_the_systems_authorities_without_a_ca():
    told = settings("tls: {}").producer("x")
    assert (told["security.protocol"], told["ssl.ca.location"]) == ("SSL", "probe")


@pytest.mark.parametrize(
    "servers", ["broker", "broker:0", "broker:70000", "a:1,,b:2", "http://a:80", "user:word@a:1", ""]
)
def test_addresses(servers):
    (fault,) = faults(f'bootstrap_servers: "{servers}"')
    assert "no broker's address. Write host:port" in fault
    assert settings().bootstrap_servers == "broker-1.example.org:9092,10.0.0.7:9093"


def test_addresses_may_be_version_six_and_have_spaces_between():
    assert validate(parse('bootstrap_servers: "[::1]:9092, b:1"', "", {}), KafkaSettings)[0] == KafkaSettings(
        bootstrap_servers="[::1]:9092,b:1"
    )


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('acks: "1"', "every replica must acknowledge"),
        ('enable.idempotence: "false"', "messages are repeated and change places"),
        ('retries: "10"', "no message is ever given up"),
        ('delivery.timeout.ms: "120000"', "no message is ever given up"),
        ('partitioner: "random"', "a box stays in its partition"),
        ('bootstrap.servers: "a:1"', "write bootstrap_servers"),
        ('security.protocol: "ssl"', "write tls"),
        ('enable.ssl.certificate.verification: "false"', "write tls"),
        ('sasl.password: "open"', "write sasl"),
        ('linger_ms: "5"', "unknown 'linger_ms'. Did you mean 'linger.ms'?"),
        ('plugin.library.paths: "x"', "unknown 'plugin.library.paths'"),
        ('linger.ms: "soon"', "'linger.ms' cannot be 'soon' (Invalid value"),
        ('compression.type: "zip"', "'zip'"),
        ('max.in.flight: "10"', "'max.in.flight' cannot be '10' (`max.in.flight` must be set <= 5"),
    ],
)
def test_properties_that_are_refused(line, told, capfd):
    (fault,) = faults(f"{SERVERS}producer_configs:\n  {line}")
    assert fault.startswith(("box.yaml:2:", "box.yaml:3:"))
    assert "producer_configs: " in fault
    assert told in fault
    assert capfd.readouterr() == ("", "")


def test_all_wrong_properties_are_told():
    (fault,) = faults(SERVERS + 'producer_configs: {retries: "10", acks: "0"}')
    assert "'retries'" in fault
    assert "'acks'" in fault


def test_values_are_not_tried_where_the_library_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert settings('producer_configs: {linger.ms: "soon"}').producer("x")["linger.ms"] == "soon"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tls: {server_name: x}", "Take server_name out"),
        ("tls: {certificate: x.pem}", "Give both, or neither"),
        ('compression: gzip\nproducer_configs: {compression.type: "lz4"}', "the compression is given twice"),
        ("topic: a/b", "topic"),
        ("sasl: {mechanism: GSSAPI, username: a, password: b}", "SCRAM-SHA-256"),
    ],
)
def test_other_faults(text, told):
    (fault,) = faults(SERVERS + text)
    assert told in fault


class Lines(list[str]):
    """A logger that keeps what it is told."""

    def log(self, _level, _form, kind, _name, text):
        self.append(f"{kind} {text}")


@pytest.mark.parametrize("name", sorted(TUNABLE))
def test_every_tunable_property_is_one_of_a_producer_and_not_out_of_date(name):
    words = {
        "broker.address.family": "v4", "client.dns.lookup": "use_all_dns_ips", "compression.codec": "lz4",
        "compression.type": "lz4", "compression.level": "1", "max.in.flight": "1", "message.max.bytes": "10000",
        "max.in.flight.requests.per.connection": "1", "socket.keepalive.enable": "true", "socket.nagle.disable": "true",
    }  # fmt: skip
    lines = Lines()
    Producer({name: words.get(name, "1000")}, logger=lines).poll(0)
    assert [line for line in lines if "bootstrap.servers" not in line] == []
