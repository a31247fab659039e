"""A headless Chromium for tests, benches and screenshots: what it logs and what it asks of the network can be read back.

Needs Debian's packages chromium and chromium-driver, which .ci/run installs; the tests that use it are marked `browser`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"
WAIT_S = 60.0


class Browser:
    """One window. Every address is opened in it; `open` returns when the page says that it is ready."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str, *, until: str = "document.documentElement.dataset.ready") -> None:
        """Load the address anew and wait until the JavaScript expression is true."""
        self.driver.get("about:blank")
        self._log("browser")
        self._log("performance")
        self.driver.get(address)
        self.wait(until)

    def wait(self, expression: str) -> Any:
        """The value of the JavaScript expression, once it is true."""
        return WebDriverWait(self.driver, WAIT_S, poll_frequency=0.05).until(
            lambda driver: driver.execute_script(f"return {expression}")
        )

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {expression}")

    def run(self, script: str, *arguments: Any) -> Any:
        """What the JavaScript function body returns."""
        return self.driver.execute_script(script, *arguments)

    def keys(self, text: str) -> None:
        """Press these keys on the page, one after another."""
        for key in text:
            self.driver.execute_script(
                "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0], bubbles: true, cancelable: true}))",
                key,
            )

    def complaints(self) -> list[str]:
        """What the console logged as a warning or an error since the page was opened."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] in ("WARNING", "SEVERE")]

    def requests(self) -> list[str]:
        """Every address that was asked for since the page was opened, the page's own first."""
        found = []
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return [address for address in found if address != "about:blank"]

    def _log(self, name: str) -> list[dict[str, Any]]:
        """What the log gained since it was last read."""
        return self.driver.get_log(name)  # type: ignore[no-untyped-call, no-any-return]

    def resize(self, width: int, height: int) -> None:
        """The page is this large, in CSS pixels."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def emulate(self, *, dark: bool) -> None:
        """The user's system is dark or light."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


@contextmanager
def chromium(width: int = 1400, height: int = 900) -> Iterator[Browser]:
    """A browser that ends with the block."""
    options = Options()
    options.binary_location = CHROMIUM
    # Root needs --no-sandbox; containers have a small /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        browser = Browser(driver)
        browser.resize(width, height)
        yield browser
    finally:
        driver.quit()
