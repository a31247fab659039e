"""What the page of a long run costs: to write, and to open, zoom and pan in a real browser.

    python -m harness.tests.page_cost [--ops 200000]

The page is panned over the whole run, from its beginning to its end, at three zooms, one step a frame. A frame's time is from one
requestAnimationFrame to the next; on a busy machine it is what others leave, so the
processor time of the main thread and of the whole browser stand beside it. Needs Debian's chromium and chromium-driver
(.ci/browser-setup).
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from checkers.linearizability import linearizable
from checkers.models.registry import find
from harness.report.page.report import history_page
from harness.tests.browser import Browser, chromium
from histories.history import History
from histories.op import NEMESIS, Op

ZOOMS = (2, 5, 7, 9)
"""How often w is pressed before the page is panned: each shows 0.6 of what was shown before."""

KEYS = 50
FAULT_EVERY = 2_000
"""Operations from one partition to the next."""

PAN = """
const [zooms, done] = arguments
const press = key => document.body.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}))
const steps = Math.ceil((1 / 0.6 ** zooms - 1) / 0.25) + 1, times = []
let count = 0
press('0')
for (let i = 0; i < zooms; i++) press('w')
for (let i = 0; i < steps; i++) press('a')
function step(now) {
  times.push(now)
  if (count++ < steps) { press('d'); requestAnimationFrame(step); return }
  const took = times.slice(1).map((time, i) => time - times[i]).sort((x, y) => x - y)
  const at = share => took[Math.min(took.length - 1, took.length * share | 0)]
  done([steps, at(0.5), at(0.95), at(1)])
}
requestAnimationFrame(() => requestAnimationFrame(step))
"""


def history(count: int) -> Iterator[Op]:
    """So many operations of 20 processes on 5 nodes, 10,000 a second, with partitions now and then; the last read is stale."""
    index = 0
    now_ns = 0
    cut = {"n1": ["n2", "n3"]}
    for i in range(count):
        process, key, node = i % 20, i % KEYS, f"n{i % 5 + 1}"
        f, value = ("write", i) if (i // KEYS) % 2 == 0 else ("read", None)
        is_last = i == count - 1
        if is_last:
            f, value = "read", None
        answer = i if f == "write" else (i - KEYS if not is_last else -1)
        if i % FAULT_EVERY in (500, 1_100):
            name = "start-partition" if i % FAULT_EVERY == 500 else "stop-partition"
            for type in ("info", "info"):
                yield Op(index, now_ns, type, NEMESIS, name, None, cut)
                index += 1
        ended = "ok" if i % 97 or f == "write" or is_last else "fail"
        yield Op(index, now_ns, "invoke", process, f, key, value, node=node)
        yield Op(index + 1, now_ns + 80_000, ended, process, f, key, answer if ended == "ok" else value, node=node)  # type: ignore[arg-type]
        index += 2
        now_ns += 100_000


def busy_s(browser: Browser) -> tuple[float, float]:
    """Processor seconds so far: of the main threads of all pages, and of every thread of every process of the browser."""
    mains_ns = all_ns = 0
    for pid in descendants(browser.driver.service.process.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            for task in Path(f"/proc/{pid}/task").iterdir():
                on_cpu_ns = int((task / "schedstat").read_text().split()[0])
                all_ns += on_cpu_ns
                mains_ns += on_cpu_ns if b"--type=renderer" in command and task.name == str(pid) else 0
        except OSError:  # It has ended.
            continue
    return mains_ns / 1e9, all_ns / 1e9


def descendants(pid: int) -> list[int]:
    """This process and all that came from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


@click.command(help=__doc__)
@click.option("--ops", "count", default=200_000, show_default=True)
def main(count: int) -> None:
    """Write the page of a failing run of so many operations, open it, pan it."""
    recorded = History(list(history(count)))
    verdict = linearizable(recorded, find("cas-register"))
    before = time.process_time()
    began = time.monotonic()
    page = history_page("long", recorded, verdict, "linearizable")
    cpu_s, wall_s = time.process_time() - before, time.monotonic() - began
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(f"{count:,} operations, {verdict.validity.name}: {verdict.reason[:120]}")
    click.echo(
        f"written in {cpu_s:.1f} s of CPU ({wall_s:.1f} s), {len(page) / 1e6:.1f} MB; peak of all {peak_mb:.0f} MB"
    )
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "page.html"
        path.write_bytes(page)
        driver = browser.driver
        browser.open(path.as_uri())
        ready_ms = browser.value("performance.now()")
        main_s, _ = busy_s(browser)
        click.echo(
            f"usable after {main_s:.1f} s of CPU of the page's main thread ({ready_ms / 1e3:.1f} s by the clock)"
        )
        click.echo(f"the first screen says: {browser.value('document.querySelector(`h1`).textContent')}")
        for zooms in ZOOMS:
            before_s = busy_s(browser)
            steps, median_ms, most_ms, worst_ms = driver.execute_async_script(PAN, zooms)
            main_ms, all_ms = ((a - b) / steps * 1e3 for a, b in zip(busy_s(browser), before_s, strict=True))
            click.echo(
                f"panned over the whole run, {0.6**zooms:.1%} of it in view: {steps} frames, median {median_ms:.0f} ms, "
                f"p95 {most_ms:.0f} ms, worst {worst_ms:.0f} ms; CPU a frame: main thread {main_ms:.1f} ms, browser {all_ms:.1f} ms"
            )


if __name__ == "__main__":
    main()
