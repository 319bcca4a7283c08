"""The sections of a configuration that are not nodes: box, gas, acquisition, laser, climate, tec, cell, mqtt, web and
others.
"""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

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
    ramp_s: float = Field(0.0, ge=0, le=60, description="time in which the duty rises to its value when it is lit")
    warm_up_s: float = Field(
        0.0, ge=0, le=3600, description="time after lighting in which its power is not trusted: no value is valid"
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
    """The gas's temperature, humidity and pressure: what is given here holds, sensors tell the rest."""

    sensor: Literal["auto", "off"] = Field(
        "auto", description="auto: the board's sensors are asked, on board sim the simulated cell; off: none is"
    )
    every_s: float = Field(5.0, ge=1, le=3600, description="how often they are asked")
    stale_s: float = Field(60.0, ge=2, le=86_400, description="beyond this age nothing they said is used")
    temperature_c: float | None = Field(None, ge=-40, le=125, description="temperature of the gas")
    humidity_percent: float | None = Field(None, ge=0, le=100, description="relative humidity")
    pressure_pa: float | None = Field(None, ge=30_000, le=200_000, description="pressure of the gas")


class TecSection(Settings):
    """The laser's temperature, regulated by the board's TEC. docs/tec.md tells how to find the gains."""

    setpoint_c: float = Field(25.0, ge=-20, le=80, description="the temperature that the laser is to have")
    tolerance_k: float = Field(
        0.2, gt=0, le=5, description="no farther from it is the laser lit; it settles within half of that first"
    )
    settle_s: float = Field(10.0, ge=0, le=600, description="time that it must have settled before the laser is lit")
    min_c: float = Field(5.0, ge=-30, le=80, description="colder than this the TEC goes off, and the laser with it")
    max_c: float = Field(45.0, ge=-20, le=100, description="warmer than this they go off")
    kp: float = Field(0.3, gt=0, le=100, description="drive (1: the bridge's whole supply) per kelvin")
    ki: float = Field(0.02, ge=0, le=100, description="drive per kelvin and second")
    kd: float = Field(0.4, ge=0, le=100, description="drive per kelvin a second")


class Cell(Settings):
    """The simulated photoacoustic cell (board sim). Levels are parts of full scale; left alone it has no faults."""

    ppm: float = Field(400.0, ge=0, le=1_000_000, description="concentration in the cell")
    ppm_per_hour: float = Field(
        0.0, ge=-1_000_000, le=1_000_000, description="how far the concentration moves in the first hour, evenly"
    )
    seed: int = Field(1, ge=0, description="the noise repeats exactly with the same seed")
    exchange_s: float | None = Field(
        None, ge=0.1, le=3600, description="time constant with which new gas fills the cell; at once if absent"
    )

    temperature_c: float = Field(20.0, ge=-40, le=85, description="gas temperature")
    humidity_percent: float = Field(40.0, ge=0, le=100, description="relative humidity")
    pressure_pa: float = Field(101_325.0, ge=50_000, le=120_000, description="gas pressure")
    temperature_swing_k: float = Field(0.0, ge=0, le=20, description="the temperature swings by this, up and down")
    swing_period_s: float = Field(1200.0, ge=10, le=604_800, description="period of that swing")
    quality: float = Field(50.0, ge=2, le=1000, description="Q of the resonance")
    losses: bool = Field(False, description="Q and loudness follow the air, as losses at the walls do")
    relaxation: bool = Field(False, description="the gas warms with a delay that water shortens, as CO2 in N2 does")
    line_energy_cm: float | None = Field(
        None,
        ge=0,
        le=5000,
        description="lower level of the absorption line, 1/cm; one that does not mind the temperature if absent",
    )
    co2_detunes: bool = Field(False, description="the concentration changes the speed of sound, as CO2 does")
    saturation_ppm: float | None = Field(
        None, gt=0, description="where the answer has bent to half; a straight line if absent"
    )
    background_re: float = Field(
        0.0, ge=-10, le=10, description="what windows and walls add, in phase with the laser, per watt at its frequency"
    )
    background_im: float = Field(0.0, ge=-10, le=10, description="the same, a quarter of a period earlier")

    light: Literal["fundamental", "square", "sine", "wms"] = Field(
        "fundamental",
        description="shape of the laser's light: a square's fundamental alone, the whole square, a sine, or constant "
        "light dithered across the line at half the cell's frequency",
    )
    power_drift_percent: float = Field(
        0.0, ge=-100, le=100, description="how far the laser's power moves in the first hour, evenly"
    )
    clock_offset_ppm: float = Field(
        0.0, ge=-1000, le=1000, description="how much faster the laser's clock runs than the ADC's"
    )
    clock_wander_ppm: float = Field(
        0.0, ge=0, le=100, description="how far that walks in an hour, one standard deviation"
    )

    hum: float = Field(0.0, ge=0, le=1, description="amplitude of mains hum, full scale")
    mains_hz: float = Field(50.0, ge=40, le=70, description="frequency of the mains")
    speech_rms: float = Field(0.0, ge=0, le=1, description="loudness of a voice nearby, root mean square")
    knock_amplitude: float = Field(0.0, ge=0, le=1, description="amplitude of knocks")
    knock_rate_hz: float = Field(0.0, ge=0, le=100, description="how many there are a second, on average")
    tone_hz: float = Field(2045.5, gt=0, le=100_000, description="frequency of a pump or fan")
    tone_amplitude: float = Field(0.0, ge=0, le=1, description="its amplitude")
    common_density: float = Field(
        0.0, ge=0, le=0.01, description="white noise that both microphones hear alike, per square root of a hertz"
    )

    noise_density: float = Field(
        3.2e-7, ge=0, le=0.01, description="white noise of each microphone, per square root of a hertz"
    )
    flicker_hz: float = Field(0.0, ge=0, le=100_000, description="where 1/f noise is as loud as that; 0: none")
    gain_b: float = Field(1.0, ge=0, le=10, description="sensitivity of microphone B against A")
    phase_b_deg: float = Field(0.0, ge=-180, le=180, description="phase of microphone B against A")
    coupling_hz: float = Field(0.0, ge=0, le=1000, description="corner of the microphones' AC coupling; 0: none")
    delay_frames: float = Field(
        0.0, ge=0, le=1000, description="delay of the microphones' digital filter, in frames; 17.2 in an INMP441"
    )
    offset: float = Field(0.0, ge=-1, le=1, description="what the ADC adds to every sample")
    dead_microphone: Literal["a", "b"] | None = Field(None, description="a microphone that has failed; none if absent")
    stuck_at: float = Field(0.0, ge=-1, le=1, description="what the failed microphone reads")
    bits: Literal[16, 24, 32, "float"] = Field(24, description="word length of the ADC; float does not round")
    dither: bool = Field(False, description="triangular dither ahead of the rounding")
    loopback_amplitude: float = Field(
        0.0,
        ge=0,
        le=1,
        description="the laser's modulation on a channel, in place of its microphone; 0: two microphones",
    )
    loopback_shape: Literal["square", "sine"] = Field("square", description="shape of that modulation")
    loopback_channel: Literal["a", "b"] = Field("b", description="channel that carries it")
    gap_rate_hz: float = Field(0.0, ge=0, le=10, description="how often sound is lost, on average")
    gap_s: float = Field(0.02, gt=0, le=10, description="how much is lost each time")


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
    history: bool = Field(
        True, description="deliver all measurements and alerts of the journal to BASE/BOX/history/NODE, at least once"
    )
    history_rows_per_s: float = Field(
        1000.0, ge=1, le=10_000, description="how fast what has waited is delivered at most; what is new goes first"
    )


class HomeAssistantSection(Settings):
    """What the Home Assistants are like that are to show the box."""

    min_version: str = Field(
        "2024.11",
        pattern=r"^20\d\d\.(1[0-2]|[1-9])(\.\d+)?$",
        description="the oldest of them, 2024.11 or later; what only later ones know is left out",
    )
    url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s@]+/?$",
        description="http://HOST:8123 of the one whose long-term statistics are filled after a gap; none if absent",
    )
    token: SecretStr | None = Field(
        None, description="a long-lived token that an administrator made there; write it as !secret name"
    )
    tls: Tls | None = Field(None, description="files for https://; the system's authorities if absent")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.url is None) != (self.token is None):
            raise ValueError("url and token belong together. Give both, or neither")
        return self


class ModbusSection(Settings):
    """The Modbus TCP server (docs/modbus.md). It knows no password: whoever reaches it may ask it."""

    listen: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 is every one of this box")
    port: int = Field(
        5020,
        ge=0,
        le=65535,
        description="port; Modbus's own is 502, which takes CAP_NET_BIND_SERVICE or root; 0 is any, told by status",
    )
    unit: int = Field(1, ge=1, le=247, description="unit number; 0 and 255 are answered, too")
    writes: Literal["off", "thresholds"] = Field("off", description="what may be written")
    word_order: Literal["big", "little"] = Field(
        "big", description="order of the two registers of a 32-bit number; the bytes of a register are always big"
    )


class WebCertificate(Settings):
    """A certificate of one's own."""

    certificate: Path = Field(description="PEM file of the certificate, those of its authorities behind it")
    key: Path = Field(description="PEM file of its key, not encrypted")


class WebSection(Settings):
    """The page, and the API beneath it (docs/api.md)."""

    listen: str = Field("127.0.0.1", min_length=1, description="address to listen on; 0.0.0.0 is every one of this box")
    port: int = Field(8080, ge=0, le=65535, description="port; 0 takes any that is free, and status tells it")
    tls: Literal["off", "generated"] | WebCertificate | None = Field(
        None,
        description="off; generated, a certificate that the box makes and signs itself; or {certificate: FILE, key: "
        "FILE}. Off if absent, which is allowed on loopback only",
    )
    hosts: tuple[str, ...] = Field(
        (), description="further names by which browsers may call this box, beside its own name and addresses"
    )
    guests: bool = Field(False, description="whether everybody may look without a password")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ip_address(self.listen).is_loopback
        except ValueError:
            return self.listen == "localhost"

    @model_validator(mode="after")
    def _is_decided(self) -> Self:
        if self.tls is None and not self.is_local:
            raise ValueError(
                f"listening on {self.listen} needs a word on encryption. Write tls: generated, or tls: off "
                "where the network is trusted with the password"
            )
        return self


class Condition(Settings):
    """When an alarm is raised and cleared."""

    name: Name | None = Field(None, description="name in alerts; made from `when` if absent")
    when: str = Field(
        description='"NODE above|below VALUE [for 10s]", "NODE frequency off by HZ [for 10s]" or "NODE silent for 30s"'
    )
    hysteresis: float | None = Field(
        None,
        ge=0,
        description="how far the value must come back to clear the alarm; six of its standard deviations if absent",
    )
    hold_off_s: float = Field(0.0, ge=0, description="shortest time between clearing and raising again")
    severity: Literal["info", "warning", "critical"] = Field("warning", description="how bad it is")


class Rule(Condition):
    """An alarm, and what to do about it: `{when: co2 above 1000 for 10s, do: [relay fan on]}`."""

    do: list[str] = Field(
        default_factory=list,
        description='commands on raising: "relay NAME on|off", "led NAME red|off", "laser off"',
    )
    on_clear: list[str] | None = Field(None, description="commands on clearing; the opposite of `do` if absent")


class JournalSection(Settings):
    """The journal: every measurement, alert and command, on the box's own card."""

    enabled: bool = Field(True, description="keep a journal; without one, what a server that is away misses is lost")
    path: Path | None = Field(None, description="the file; BOX.journal in the state directory if absent")
    commit_s: float = Field(
        10.0,
        ge=0.1,
        le=600,
        description="how often it is written to the card, which a power cut may cost; alerts at once",
    )
    max_mb: int = Field(512, ge=1, le=1_000_000, description="size beyond which what is old is thinned, then dropped")
    max_days: float = Field(400.0, gt=0, le=36_500, description="age beyond which everything is dropped")


class ScriptsSection(Settings):
    """How customers' scripts are fenced in."""

    level: Literal["auto", "A", "B", "L", "C"] = Field(
        "auto",
        description="walls around a worker: A namespaces, Landlock and seccomp, B without Landlock, L without "
        "namespaces, C seccomp only; auto is the best that this machine has",
    )
    min_isolation: Literal["A", "B", "L", "C"] = Field(
        "C", description="below this level no script runs, and its node says why"
    )
    isolation: Literal["required"] | None = Field(
        None, description="required: scripts run in namespaces of the kernel or not at all, as with min_isolation: B"
    )

    @property
    def least(self) -> Literal["A", "B", "L", "C"]:
        """The level below which no script runs: the higher one of what both options ask for."""
        return "B" if self.isolation and self.min_isolation in ("L", "C") else self.min_isolation
