"""Makes the README's screenshots: runs the example, opens its page in a headless Chromium, and writes PNGs.

.ci/browser-setup installs the browser.

.venv/bin/python docs/images/make.py
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from harness.report.page.report import write_report
from harness.run import execute, plan
from harness.spec import RunSpec
from harness.store.runs import Store
from harness.tests.browser import Browser, chromium

HERE = Path(__file__).parent
EXAMPLE = RunSpec(
    env="sim",
    bugs=("reply-before-commit",),
    nemesis=("partition", "kill"),
    seed=3,
    time_limit_s=20.0,
    rate_hz=100.0,
    concurrency=10,
)
WIDTH, HEIGHT = 1400, 900


def picture(browser: Browser, path: Path) -> None:
    """What is on the screen, as a PNG."""
    told = browser.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    path.write_bytes(base64.b64decode(told["data"]))


def main() -> None:
    """The first screen, and the whole run."""
    with tempfile.TemporaryDirectory() as store, chromium(WIDTH, HEIGHT) as browser:
        run, _ = execute.run_into(Store(Path(store)), plan.prepare(EXAMPLE))
        address = write_report(run).as_uri()
        browser.emulate(dark=False)
        browser.open(address)
        picture(browser, HERE / "failure.png")
        browser.run("document.getElementById('run').scrollIntoView()")
        picture(browser, HERE / "run.png")


if __name__ == "__main__":
    main()
