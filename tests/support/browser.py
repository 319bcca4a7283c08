"""Debian's Chromium as a person uses it: one window, its keys and its screen, and what it complained of."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

DEADLINE_S = 40.0
PHONE, DESKTOP = (360, 780), (1280, 860)
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-color-profile=srgb"),
)
_COLOURS = 128


class Browser:
    """A window with one page in it. Every wait ends with what it waits for, or after DEADLINE_S with what it saw."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def go(self, url: str) -> None:
        """Open an address, anew."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def all(self, css: str) -> list[WebElement]:
        """The elements there are now."""
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def one(self, css: str) -> WebElement:
        """The element, as soon as it is to be seen."""
        found: WebElement = self.until(lambda: next((e for e in self.all(css) if e.is_displayed()), None), css)
        return found

    def text(self, css: str) -> str:
        """What an element shows; "" where there is none."""
        return str(self.run("const e = document.querySelector(arguments[0]); return e ? e.innerText : ''", css))

    def run(self, script: str, *arguments: Any) -> Any:
        """A script's result, in the page."""
        return self.driver.execute_script(script, *arguments)

    def press(self, css: str) -> None:
        """Click. An element that is made anew meanwhile is looked up again."""

        def pressed() -> bool:
            element = self.one(css)
            self.run("arguments[0].scrollIntoView({block: 'center'})", element)
            element.click()
            return True

        self.until(pressed, f"a click on {css}")

    def write(self, css: str, text: str) -> None:
        """Put a text in the place of what is there."""
        element = self.one(css)
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def drag(self, css: str, start: float, end: float) -> None:
        """From one part of an element's width to another with the mouse held down."""
        element = self.one(css)
        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
        width = element.size["width"]
        actions = ActionChains(self.driver).move_to_element_with_offset(element, round((start - 0.5) * width), 0)
        actions.click_and_hold().move_by_offset(round((end - start) * width), 0).release().perform()

    def until(self, done: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
        """The first true thing that `done` gives."""
        end = time.monotonic() + seconds
        trouble = ""
        while time.monotonic() < end:
            try:
                if found := done():
                    return found
            except WebDriverException as error:
                trouble = str(error.msg)
            time.sleep(0.05)
        raise AssertionError(f"no {what} within {seconds:g} s. {trouble}\n{self.text('body')}")

    def size(self, size: tuple[int, int]) -> None:
        """Width and height of the window, in CSS pixels."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def light(self, scheme: str) -> None:
        """The machine's wish: light or dark; and that nothing moves by itself, so that colours are what they are."""
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        media = {"features": [{"name": name, "value": value} for name, value in wishes.items()]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    def picture(self, file: Path) -> None:
        """What is to be seen now, as a small PNG."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        image.quantize(_COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)

    def complaints(self) -> list[str]:
        """What stands in the console since the last look: errors, refused scripts, violated policies."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def hosts(self) -> set[str]:
        """The hosts that were asked for anything since the last look."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [_url(message) for message in messages if message["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in urls if urlsplit(url).scheme in ("http", "https", "ws", "wss")}


def _url(message: Mapping[str, Any]) -> str:
    return str(message["params"]["request"]["url"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A window of its own, with an empty profile there."""
    options = webdriver.ChromeOptions()
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        made = Browser(driver)
        made.size(DESKTOP)
        made.light("light")
        yield made
    finally:
        driver.quit()
