"""Chromium without a screen, driven through chromedriver: the page as a person has it.

Owns finding the browser, and the few things that tests do with a page. Nothing waits for a time:
each question is asked until it is answered, with a deadline far above what it needs.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, until
from tests.e2e.ports import HOST

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
DRIVER = shutil.which("chromedriver")
MISSING = (
    "NO CHROMIUM HERE: THE PAGE IS NOT TESTED. Install it with: "
    "apt-get install chromium chromium-driver"
)
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's root may not make one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


def needs_chromium() -> None:
    """Skip what cannot run without a browser, so that nobody overlooks it."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip(MISSING, allow_module_level=True)


class Browser:
    """One window with one page.

    Attributes:
        driver: selenium's.
    """

    def __init__(self, folder: Path, *, width: int = 1440, height: int = 900) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.options import Options
        from selenium.webdriver.chrome.service import Service

        options = Options()
        options.binary_location = str(CHROMIUM)
        for flag in (*_FLAGS, f"--user-data-dir={folder}", f"--window-size={width},{height}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver: Any = webdriver.Chrome(options=options, service=Service(str(DRIVER)))

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.driver.quit()

    def open(self, cluster: Cluster, node_id: int, *, account: str = "alice") -> None:
        """A node's page, as if in a new tab."""
        port = cluster.address(node_id).http_port
        self.driver.get("about:blank")
        self.troubles()
        self.driver.get(f"http://{HOST}:{port}/#account={account}")
        self.is_on(node_id)

    def is_on(self, node_id: int) -> None:
        """Wait until the page lives on this node."""
        self.shows("link-text", f"node {node_id} ·")

    def size(self, width: int, height: int) -> None:
        """A window of this size in CSS pixels, however small."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, **features: str) -> None:
        """Media features as a person has set them, with _ for -."""
        told = [{"name": name.replace("_", "-"), "value": each} for name, each in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": told})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script."""
        return self.driver.execute_script(script, *arguments)

    def text(self, element_id: str) -> str:
        """What an element says."""
        return str(self.run("return document.getElementById(arguments[0]).innerText", element_id))

    def shows(self, element_id: str, words: str) -> str:
        """Wait until an element says something; all that it says then."""

        def said() -> str | None:
            text = self.text(element_id)
            return text if words in text else None

        return str(until(f"#{element_id} says {words!r}", lambda: said() or self.look(element_id)))

    def look(self, element_id: str) -> None:
        """For the message of a wait that fails: what it says instead, and what went wrong."""
        # `until` shows the last thing that was raised.
        raise OSError(f"#{element_id} says {self.text(element_id)!r}")

    def noted(self, words: str) -> None:
        """Wait until it was said what happened to the nodes, and be it a while ago."""
        told = "return document.getElementById('notes').textContent"

        def is_told() -> bool:
            notes = self.run(told)
            if words not in notes:
                raise OSError(f"{notes!r} at {self.text('link-text')!r}")  # what `until` shows
            return True

        until(f"a note says {words!r}", is_told)

    def sees(self, what: str, is_so: Callable[[], Any]) -> Any:
        """Wait until something is so."""
        return until(what, is_so)

    def click(self, selector: str) -> None:
        """Press the one element that a selector names."""
        self.driver.find_element("css selector", selector).click()

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field, in the place of what was there."""
        field = self.driver.find_element("css selector", selector)
        field.clear()
        field.send_keys(text)

    def press(self, keys: str) -> None:
        """Keys to whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(keys).perform()

    def place(self, side: str, qty: str, price: str, *, kind: str = "LIMIT") -> None:
        """Fill the form in and send it."""
        self.click(f".sides .{side}")
        self.run("document.getElementById('form').type.value = arguments[0]", kind)
        if kind != "MARKET":
            self.type("#price", price)
        self.type("#quantity", qty)
        self.click("#place")

    def own_orders(self) -> list[str]:
        """The rows of the table of own orders."""
        rows = self.run(
            "return [...document.querySelectorAll('#orders tr')].map(row => row.innerText)"
        )
        return [str(row) for row in rows]

    def troubles(self) -> list[str]:
        """What the browser complained of since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]
