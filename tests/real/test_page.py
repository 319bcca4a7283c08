"""The page in a real Chromium on one running box, whose cell is simulated and everything else is not: what people do
there, from the first password to a sweep's fit.

Every test finds the page signed in and leaves the box measuring. With SPECTROPHONE_PICTURES naming a directory, the
walk through the views leaves a picture of each there, phone and desktop (`make pictures`).
"""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from gateway.types import INVALIDATING, Flag
from tests.real.gateway import Running, gateway
from tests.support.browser import DESKTOP, PHONE, Browser, browser

PASSWORD = "a long enough word"
VIEWS = (
    *("live", "history", "signal", "alerts", "outputs", "actions", "calibrate"),
    *("configuration", "doctor", "log", "settings"),
)
CONTRAST, INKED, TIDY = (
    (Path(__file__).parents[1] / "support" / "page" / f"{name}.js").read_text("utf-8")
    for name in ("contrast", "inked", "tidy")
)
EARLY = r"/(sweep|allan\?\S*) - Failed to load resource: .* (404|409) "
"""Chromium writes every refusal into its console; these are the API's for what there is not yet."""
FINE = "def on_measurement(measurement):\n    return True\n"
BROKEN = "def on_measurement(measurement):\n    limit = measurement['limit_ppm']\n    return limit > 400\n"
CALIBRATION = """\
schema = 1
created = 2026-03-04
node = "co2"
phase_deg = 0
background = {re = 0, im = 0}
[curve]
type = "line"
slope = 6.1e-6
max_ppm = 5000
covariance = [[0, 0], [0, 9e-16]]
[resonance]
f0_hz = 2012.5
sigma_f0_hz = 0.02
q = 50.0
temperature_c = 20.0
humidity_percent = 40.0
pressure_pa = 101325.0
"""
CONFIG = """\
# A box in a lab: one gas, one action of the customer's, one rule.
box: {{id: lab, name: "Lab 42"}}
board: sim
cell: {{ppm: 420, seed: 3}}
gas: {{name: co2, line: "4.26 um"}}
processing:
  default_graph:
    nodes:
      - {{id: input, type: input}}
      - {{id: spectrum, type: spectrum, parameters: {{fft_size: 65536, averages: 1}}}}
      - {{id: differential, type: differential}}
      - {{id: lock, type: lock_in, parameters: {{integration_s: 0.2}}}}
      - {{id: co2, type: concentration, parameters: {{source: lock, calibration: {directory}/co2.toml}}}}
      - id: watch
        type: universal_action
        parameters:
          monitored_nodes: [co2]
          update_interval_ms: 300
          driver: {{type: python, config: {{script_path: {directory}/watch.py}}}}
rules:
  - {{when: co2 above 1000 for 1s, hysteresis: 50, severity: warning, do: [relay fan on]}}
web: {{port: 0}}
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A running box: its directory, its process, its address."""

    directory: Path
    running: Running
    url: str


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    directory = tmp_path_factory.mktemp("box")
    (directory / "co2.toml").write_text(CALIBRATION)
    (directory / "watch.py").write_text(FINE)
    config = directory / "box.yaml"
    config.write_text(CONFIG.format(directory=directory))
    with gateway(directory, "run", "--config", str(config)) as running:
        line = running.wait(lambda: next((line for line in running.lines if "http://" in line), None), "the address")
        url = re.search(r"http://\S+", line)
        assert url is not None
        yield Box(directory, running, url.group())
        assert running.stop() == 0
    assert not any("Traceback" in line for line in running.errors)


@pytest.fixture(scope="module")
def window(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium on the page, with the first password set."""
    with browser(tmp_path_factory.mktemp("profile")) as made:
        made.go(box.url)
        made.one("input[name=password]").send_keys(PASSWORD)
        made.one("input[name=again]").send_keys(PASSWORD)
        made.one("button[type=submit]").click()
        made.one("#main")
        yield made


@pytest.fixture
def page(box: Box, window: Browser) -> Iterator[Browser]:
    """The page; afterwards nothing has been complained of, and nobody but the box was asked for anything."""
    window.size(DESKTOP)
    yield window
    assert [told for told in window.complaints() if not re.search(EARLY, told)] == []
    assert window.hosts() <= {box.url.removeprefix("http://").rstrip("/")}


def show(page: Browser, view: str) -> None:
    """Go to a view by its address."""
    page.run("location.hash = `#/${arguments[0]}`", view)
    page.one(f"#view-{view}")


def value(page: Browser) -> float | None:
    """The number that is shown, None where there is none."""
    found = re.match(r"(-?[\d,.]+) ± [\d,.]+\s+ppm", page.text("#value-co2"))
    return float(found.group(1).replace(",", "")) if found else None


def see(page: Browser, css: str, pattern: str) -> None:
    """Wait until the element shows that."""
    page.until(lambda: re.search(pattern, page.text(css)), f"{css}: {pattern}")


def fill_cell(page: Browser, ppm: float) -> None:
    """Another concentration in the cell, and wait until it is measured: within a tenth."""
    show(page, "live")
    page.write("#ppm", f"{ppm:g}")
    page.press("#set-ppm")
    page.until(lambda: (now := value(page)) is not None and abs(now - ppm) < 0.1 * ppm + 5.0, f"{ppm:g} ppm")


def test_the_signal_is_drawn(box: Box, page: Browser) -> None:
    show(page, "signal")
    wait_for_content(page, "signal")
    see(page, "#view-signal", r"A point every 0\.732 Hz\.")
    see(page, "#view-signal", r"Amplitude 0\.0025\d\d of full scale, σ \S")
    see(page, "#view-signal", r"f₀ 2,012\.\d+ ± [\d.]+ Hz · 20\.00 °C")
    page.until(lambda: page.run(INKED) == [True] * 4, "four charts")
    keep_both(box, page, "signal")


def test_the_value_moves_with_the_gas_and_says_that_it_is_trusted(page: Browser) -> None:
    fill_cell(page, 800)
    page.until(lambda: page.text("#verdict-co2").startswith("Trusted"), "trust")
    see(page, "#age-co2", r"^\d\.\d s old$")
    see(page, "#glance", r"^[\d.]+ ± [\d.]+ ppm$")
    fill_cell(page, 420)


def test_a_value_that_is_not_valid_is_no_number_and_the_interlock_says_why(page: Browser) -> None:
    show(page, "outputs")
    page.press("#output-switch-interlock button[aria-pressed=false]")
    page.until(lambda: "interlock" in page.text("#laser-why"), "the interlock's reason")
    see(page, "#laser-state", "^Tripped$")
    show(page, "live")
    page.until(lambda: page.text("#value-co2") == "No value", "no value in the dark")
    see(page, "#reasons-co2", "the laser was off")
    see(page, "#glance", "^No value$")
    assert not re.search(r"\d", page.text("#value-co2") + page.text("#verdict-co2"))
    show(page, "outputs")
    page.press("#output-switch-interlock button[aria-pressed=false]")
    page.until(lambda: page.text("#output-switch-interlock .state") == "on", "the closed interlock")
    page.press("#laser-switch")
    page.until(lambda: page.text("#laser-state") == "Lit", "light")
    show(page, "live")
    page.until(lambda: value(page) is not None, "a value again")


def test_no_number_is_shown_of_a_value_that_any_flag_makes_invalid(page: Browser) -> None:
    judged = """
        const [{ judge }, { now }] = await Promise.all([import('/trust.js'), import('/store.js')]);
        const at = (age) => new Date((now() - age) * 1e3).toISOString();
        const usual = { source: 'lock', ppm: 400, u95_ppm: 2 };
        return arguments[0].map(({ age, ...told }) => judge({ ...usual, time: at(age), ...told }));
    """
    fine = {"age": 0.1, "valid": True, "flags": []}
    flagged = [{**fine, "valid": flag not in INVALIDATING, "flags": [flag.value]} for flag in Flag]
    odd = [{**fine, "age": 60}, {**fine, "ppm": None}, {**fine, "valid": False}]
    good, *others = page.run(judged, [fine, *flagged, *odd])
    assert (good["level"], good["text"], good["reasons"]) == ("trusted", "400.0 ± 2.0", [])
    doubted = {flag.value for flag, found in zip(Flag, others, strict=False) if found["level"] == "doubted"}
    assert doubted == {flag.value for flag in Flag if flag not in INVALIDATING}
    assert all(found["text"] == "" for found in others if found["level"] == "none")
    assert [found["level"] for found in others[len(Flag) :]] == ["none"] * len(odd)
    assert all(len(found["reasons"]) == 1 and "_" not in found["reasons"][0] for found in others)


def test_a_box_that_falls_silent_grows_old_on_the_screen(box: Box, page: Browser) -> None:
    show(page, "live")
    page.until(lambda: value(page) is not None, "a value")
    box.running.process.send_signal(signal.SIGSTOP)
    try:
        page.until(lambda: page.text("#value-co2") == "No value", "no value of a silent box")
        see(page, "#reasons-co2", "nothing new for")
    finally:
        box.running.process.send_signal(signal.SIGCONT)
    page.until(lambda: value(page) is not None, "a value again")


def test_an_alert_is_acknowledged_and_stays_so(page: Browser) -> None:
    fill_cell(page, 1500)
    show(page, "alerts")
    page.one(".alert.warning")
    page.write(".alert input", "window opened")
    page.press("button.acknowledge")
    page.until(lambda: "window opened" in page.text("li.alert .seen"), "who has seen it")
    assert page.all("button.acknowledge") == []
    page.driver.refresh()
    page.until(lambda: "owner" in page.text("li.alert .seen"), "the same after a reload")
    fill_cell(page, 420)
    show(page, "alerts")
    page.until(lambda: "No alert is raised" in page.text("#view-alerts"), "its end")
    page.until(lambda: "window opened" in page.text("#view-alerts table"), "the note in the list")


def test_an_action_fails_in_the_customers_own_lines_and_recovers(box: Box, page: Browser) -> None:
    show(page, "actions")
    page.until(lambda: page.run("return document.querySelector('#action-watch')?.dataset.state") == "ok", "the action")
    page.until(lambda: re.search(r"p95\s+[\d.]+ ms", page.text("#action-watch")), "its p95")
    script = box.directory / "watch.py"
    script.write_text(BROKEN)
    page.until(lambda: "watch.py:2" in page.text("#action-watch .why"), "the customer's line")
    see(page, "#action-watch", "limit_ppm")
    see(page, "#action-watch .state", "^Fails$")
    assert "gateway/" not in page.text("#action-watch")
    keep_both(box, page, "actions")
    script.write_text(FINE)
    page.press("#reload-watch")
    page.until(lambda: not page.all("#action-watch .why") and "Works" in page.text("#action-watch"), "its recovery")
    page.press("#pause-watch")
    page.until(lambda: page.text("#action-watch .state") == "Paused", "the pause")
    page.press("#resume-watch")
    page.until(lambda: page.text("#action-watch .state") == "Works", "its end")
    page.press("#action-watch summary")


def test_zero_and_span_give_a_calibration(page: Browser) -> None:
    show(page, "calibrate")
    page.press("#step-1 .row button")
    page.press("#begin-zero")
    page.one("#job-zero progress")
    page.until(lambda: "0 ppm gives" in page.text("#job-zero .outcome.done"), "the zero")
    page.write("#span-ppm", "2000")
    page.press("#step-2 .row + .row button")
    page.press("#begin-span")
    page.until(lambda: "line" in page.text("#job-span .outcome.done"), "the span")
    page.until(lambda: re.search(r"Points\s+2\b", page.text("#step-3")), "both points")
    assert page.run("return document.querySelectorAll('#step-3 canvas').length") == 1
    fill_cell(page, 700)
    found = value(page)
    assert found is not None
    assert found == pytest.approx(700, abs=20)
    fill_cell(page, 420)


def test_a_sweep_draws_its_fit(box: Box, page: Browser) -> None:
    show(page, "calibrate")
    page.press("#begin-sweep")
    page.one("#job-sweep progress")
    page.until(lambda: "f0 20" in page.text("#job-sweep .outcome.done"), "the end of the sweep")
    page.until(lambda: re.search(r"f₀ ± σ\s+2,01\d\.\d+ ± ", page.text("#view-calibrate")), "the fit")
    page.until(lambda: page.run(INKED) == [True, True], "the drawn fits")
    page.size((DESKTOP[0], 1000))
    keep(box, page, "fits", DESKTOP, "#step-3")


def test_a_fault_in_the_file_is_told_in_front(box: Box, page: Browser) -> None:
    file = box.directory / "box.yaml"
    before = file.read_text()
    show(page, "live")
    file.write_text(f"{before}\ncolour: green\n")
    see(page, "#configuration-faults", "unknown option 'colour'")
    file.write_text(before)
    page.until(lambda: page.text("#configuration-faults") == "", "its end")


def test_a_fault_in_the_configuration_is_seen_at_its_line(box: Box, page: Browser) -> None:
    file = box.directory / "box.yaml"
    before = file.read_text()
    show(page, "configuration")
    page.until(lambda: page.run("return document.querySelector('#text').value") == before, "the file")
    type_text(page, before.replace("integration_s: 0.2", "integration_s: -1"))
    page.until(lambda: page.text(".gutter .faulty") == "12", "the fault at its line")
    see(page, "#faults", "integration_s")
    keep_both(box, page, "configuration")
    assert not page.one("#apply").is_enabled()
    page.press("#faults button")
    assert page.run("return document.activeElement.id") == "text"
    show(page, "doctor")
    show(page, "configuration")
    page.until(lambda: page.text(".gutter .faulty") == "12", "what was written before, with its fault")
    after = before.replace("above 1000", "above 1100")
    type_text(page, after)
    page.until(lambda: page.one("#apply").is_enabled(), "no fault")
    page.keys(Keys.TAB)
    page.press("#apply")
    page.until(lambda: file.read_text() == after, "the saved file")
    page.until(lambda: page.one("#revert").is_enabled(), "a way back")
    page.press("#revert")
    page.until(lambda: file.read_text() == before, "the file as it was")


def type_text(page: Browser, text: str) -> None:
    """As if it were typed, at once."""
    page.run(
        "const t = document.querySelector('#text'); t.focus(); t.value = arguments[0];"
        "t.dispatchEvent(new Event('input', {bubbles: true}))",
        text,
    )


def test_history_is_zoomed(page: Browser) -> None:
    show(page, "history")
    begin = "return document.querySelector('input[type=datetime-local]').value"
    page.until(lambda: re.search(r"^\d+ points: lowest ", page.text("#history-told")), "values")
    hour = page.run(begin)
    page.press("#range-600")
    page.until(lambda: page.run(begin) > hour, "ten minutes")
    wide = page.run(begin)
    page.drag("#view-history .u-over", 0.8, 0.95)
    page.until(lambda: page.run(begin) > wide, "a closer look")
    page.press("#back")
    page.until(lambda: page.run(begin) == wide, "the way back")
    link = page.one("a[download]").get_attribute("href")
    told = page.run("return fetch(arguments[0]).then((answer) => answer.text())", link)
    assert told.startswith("time,t_s,node,ppm,")


def test_a_token_is_made_and_taken_back(page: Browser) -> None:
    show(page, "settings")
    page.write("#tokens + form input", "grafana")
    page.press("#tokens + form button")
    token = page.one(".token code").text
    assert (
        page.run(
            "return fetch('/api/v1/state', {headers: {Authorization: `Bearer ${arguments[0]}`}}).then(a => a.status)",
            token,
        )
        == 200
    )
    page.press("#tokens button")
    page.until(lambda: page.all("#tokens li") == [], "no token")


def test_the_door_opens_by_keys_alone(page: Browser) -> None:
    show(page, "settings")
    page.press("#leave")
    page.one("#door")
    page.until(lambda: page.run("return document.activeElement.name") == "password", "the focus")
    page.keys("not the password", Keys.ENTER)
    page.until(lambda: page.text("#wrong"), "the refusal")
    page.until(lambda: page.one("button[type=submit]").is_enabled(), "another try")
    assert [line for line in page.complaints() if "401" not in line] == []
    page.keys(PASSWORD, Keys.TAB, Keys.ENTER)
    page.one("#main")
    page.run("document.activeElement.blur()")
    for _ in range(12):
        page.keys(Keys.TAB)
        if page.run("return document.activeElement.id") == "to-alerts":
            break
    page.keys(Keys.ENTER)
    page.one("#view-alerts")


KEPT = ("signal", "actions", "configuration")
"""Views of which there is a picture already, of a better moment."""


def test_every_view_fits_a_phone_and_can_be_read(box: Box, page: Browser) -> None:
    """With an alert raised; in both themes, and without a word or a picture that hangs over the edge."""
    fill_cell(page, 1100)
    try:
        for view in VIEWS:
            show(page, view)
            wait_for_content(page, view)
            for size, scheme in itertools.product((DESKTOP, PHONE), ("light", "dark")):
                page.size(size)
                page.light(scheme)
                page.until(lambda: page.run("return document.documentElement.scrollWidth <= innerWidth"), view)
                assert page.run(CONTRAST) == [], f"{view} in the {scheme}"
                if view not in KEPT and (scheme == "light" or view == "live"):
                    keep(box, page, f"{view}{'-dark' if scheme == 'dark' else ''}", size)
    finally:
        page.light("light")
        fill_cell(page, 420)


def wait_for_content(page: Browser, view: str) -> None:
    """Until there is to be seen what takes its time."""
    wanted = {
        "live": lambda: page.all("#view-live .alert.warning"),
        "history": lambda: page.text("#history-told"),
        "signal": lambda: all(told in page.text("#view-signal") for told in ("°;", "A point every", "Least at")),
        "alerts": lambda: len(page.all("#view-alerts section > div > *")) > 1,
        "actions": lambda: page.all("#action-watch dd"),
        "calibrate": lambda: page.all("#step-3 dd"),
        "configuration": lambda: page.all(".gutter span"),
        "doctor": lambda: page.all("#findings li"),
        "log": lambda: page.all("#lines li"),
    }
    page.until(wanted.get(view, lambda: True), f"what {view} has to show")
    if view == "history":
        page.press("#range-600")
        page.drag("#view-history .u-over", 0.7, 0.99)


def keep_both(box: Box, page: Browser, view: str) -> None:
    """Pictures of a moment that does not come again."""
    for size in (PHONE, DESKTOP):
        page.size(size)
        keep(box, page, view, size)


def keep(box: Box, page: Browser, view: str, size: tuple[int, int], at: str = "") -> None:
    """A picture, where pictures are wanted; with the paths of a box in place of this machine's."""
    if directory := os.environ.get("SPECTROPHONE_PICTURES"):
        page.run(TIDY, [[str(box.directory), "/etc/spectrophone"], [sys.prefix, "/opt/spectrophone/venv"]], at)
        page.picture(Path(directory) / f"{view}-{'phone' if size == PHONE else 'desktop'}.png")


def test_french_says_nothing_in_english(page: Browser) -> None:
    """What the box itself says stays English; headings, buttons and labels are the page's own."""
    static = Path(__file__).parents[2] / "gateway" / "web" / "static"
    english, french = (json.loads((static / f"{name}.json").read_text("utf-8")) for name in ("en", "fr"))
    foreign = set(english.values()) - set(french.values())
    choose_language(page, "fr")
    try:
        for view in VIEWS:
            show(page, view)
            wait_for_content(page, view) if view in ("calibrate", "actions") else None
            told = page.run(
                "return [...document.querySelectorAll('h1, h2, button, label, dt, th, nav a, .hint')]"
                ".filter(e => e.checkVisibility()).map(e => e.innerText.trim())"
            )
            assert len(told) > 10
            assert foreign & set(told) == set(), view
        assert page.run("return document.documentElement.lang") == "fr"
    finally:
        choose_language(page, "en")


def choose_language(page: Browser, name: str) -> None:
    """By the settings."""
    show(page, "settings")
    page.press(f"#view-settings option[value={name}]")
    page.until(lambda: page.run("return document.documentElement.lang") == name, "the language")
    page.one("#main")
