"""The sections of a configuration that are not nodes: box, gas, acquisition, laser, climate, cell, mqtt, rules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from gateway.config.settings import Settings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An identifier that is safe in an MQTT topic, a file name and a Home Assistant entity."""


class Box(Settings):
    """Which box this is."""

    id: Name | None = Field(None, description="identifier in topics and files; the host's name if absent")
    name: str | None = Field(None, max_length=80, description="the name people see; the id if absent")


class Gas(Settings):
    """What is measured."""

    name: Name = Field("co2", description="the gas, in lower case: co2, ch4, nh3, h2o, n2o, no2 ...")
    line: str | None = Field(None, max_length=80, description='the absorption line, in words: "4.26 um"')


class Acquisition(Settings):
    """The microphone."""

    device: str | None = Field(
        None,
        min_length=1,
        description='an ALSA device ("default", "hw:1,0"), "sim" for the simulated cell, or "file:PATH" for '
        "a recording; the board's own if absent",
    )
    rate_hz: int = Field(48000, ge=8000, le=384000, description="samples per second and channel")
    format: Literal["S16_LE", "S24_3LE", "S32_LE", "FLOAT_LE"] = Field("S32_LE", description="ALSA sample format")
    channels: int = Field(2, ge=1, le=2, description="channels: 1 or 2")
    block_ms: int = Field(100, ge=10, le=1000, description="length of a block, in milliseconds")


class Laser(Settings):
    """The laser's modulation."""

    frequency_hz: float = Field(2012.5, gt=0, le=100_000, description="modulation frequency")
    duty: float = Field(0.5, gt=0, lt=1, description="part of the period that the laser is lit")
    power_w: float = Field(0.02, ge=0, le=5, description="optical power while lit")
    max_on_s: float | None = Field(
        None,
        gt=0,
        description="longest time the laser may stay lit without a new command; no limit if absent",
    )
    start: Literal["on", "off"] = Field("on", description="what the laser does when the gateway has started")
    reference: Literal["same_codec", "loopback", "free"] = Field(
        "same_codec",
        description="how the laser's phase is known: same_codec, one clock drives laser and microphone; loopback, the "
        "modulation comes in on a channel of its own; free, two clocks and nothing between them",
    )
    reference_channel: Literal["A", "B"] = Field("B", description="loopback: the channel that carries the modulation")
    track: Literal["off", "feed_forward", "pll", "dither"] = Field(
        "off",
        description="how the laser follows the cell's resonance: feed_forward from the temperature; pll from the "
        "phase as well; dither by trying to either side. It needs a calibration with a resonance",
    )


class ClimateSection(Settings):
    """The gas, where no sensor tells it: fixed values."""

    temperature_c: float | None = Field(None, ge=-40, le=125, description="temperature of the gas")
    humidity_percent: float | None = Field(None, ge=0, le=100, description="relative humidity")
    pressure_pa: float | None = Field(None, ge=30_000, le=200_000, description="pressure of the gas")


class Cell(Settings):
    """The simulated photoacoustic cell (board sim)."""

    ppm: float = Field(400.0, ge=0, le=1_000_000, description="concentration in the cell")
    seed: int = Field(1, ge=0, description="the noise repeats exactly with the same seed")
    temperature_c: float = Field(20.0, ge=-40, le=85, description="gas temperature")
    humidity_percent: float = Field(40.0, ge=0, le=100, description="relative humidity")
    pressure_pa: float = Field(101_325.0, ge=50_000, le=120_000, description="gas pressure")
    clock_offset_ppm: float = Field(
        0.0, ge=-1000, le=1000, description="how much faster the laser's clock runs than the ADC's"
    )
    hum: float = Field(0.0, ge=0, le=1, description="amplitude of 50 Hz mains hum, full scale")


class Tls(Settings):
    """Encryption. Certificates are always verified."""

    ca: Path | None = Field(
        None, description="PEM file of the authority that signed the server; the system's if absent"
    )
    certificate: Path | None = Field(None, description="PEM file of this box's own certificate")
    key: Path | None = Field(None, description="PEM file of its key")
    server_name: str | None = Field(None, description="name to expect in the server's certificate; the host if absent")


class Mqtt(Settings):
    """The MQTT broker, and Home Assistant behind it."""

    host: str = Field(min_length=1, description="host name or address of the broker")
    port: int | None = Field(None, ge=1, le=65535, description="1883, or 8883 with tls, if absent")
    username: str | None = Field(None, description="user name")
    password: SecretStr | None = Field(None, description="password; write it as !secret name")
    tls: Tls | None = Field(None, description="present: encrypted, even when empty ({})")
    protocol: Literal["5", "3.1.1", "auto"] = Field(
        "auto", description="auto: MQTT 5, and 3.1.1 if the broker refuses it"
    )
    base_topic: str = Field("spectrophone", pattern=r"^[^#+\x00]+$", description="topics are BASE/BOX/...")
    discovery: bool = Field(True, description="announce the box to Home Assistant")
    discovery_prefix: str = Field(
        "homeassistant", pattern=r"^[^#+\x00]+$", description="Home Assistant's discovery prefix"
    )
    expire_s: int = Field(30, ge=2, le=86400, description="after this time without a new one a value is unavailable")


class Rule(Settings):
    """An alarm, and what to do about it: `{when: co2 above 1000 for 10s, do: [relay fan on]}`."""

    name: Name | None = Field(None, description="name in alerts; made from `when` if absent")
    when: str = Field(
        description='"NODE above|below VALUE [for 10s]", "NODE frequency off by HZ [for 10s]" or "NODE silent for 30s"'
    )
    hysteresis: float = Field(0.0, ge=0, description="how far the value must come back before the alarm clears")
    hold_off_s: float = Field(0.0, ge=0, description="shortest time between clearing and raising again")
    severity: Literal["info", "warning", "critical"] = Field("warning", description="how bad it is")
    do: list[str] = Field(
        default_factory=list,
        description='commands on raising: "relay NAME on|off", "led NAME red|off", "laser off"',
    )
    on_clear: list[str] | None = Field(None, description="commands on clearing; the opposite of `do` if absent")
