"""Snapshots of Raft between real nodes under a long load: how long the logs on disk get, and how soon a wiped node has caught up.

    python -m harness.soak.snapshots [--ops 20000] [--entries 100] [--env local] [--cuts]

Five nodes take a snapshot every so many entries while clients ask as fast as they can; so many ops have to end. Meanwhile every
node is replaced, one after another, by one with an empty disk; with --cuts another node is cut off while each catches up.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import click

from checkers.verdict import Validity
from harness.run import plan
from harness.run.execute import run_into
from harness.spec import RunSpec
from harness.store.runs import Store
from histories import jsonl
from histories.op import NEMESIS
from histories.units import NS_PER_S
from nemesis.family import Entry
from nemesis.schedule import Schedule

NODES = ("n1", "n2", "n3", "n4", "n5")
LOOK_EVERY_S = 0.2


def replacements(first_s: float, gap_s: float, *, cuts: bool) -> Schedule:
    """Each node is replaced, and has its vote again before the next is."""
    entries = []
    for number, node in enumerate(NODES):
        begin_ns = int((first_s + number * gap_s) * NS_PER_S)
        entries.append(Entry(begin_ns, "start-membership", {"shape": "replace", "nodes": [node]}))
        if cuts:
            loner = NODES[(number + 2) % len(NODES)]
            others = [other for other in NODES if other != loner]
            grudge = {loner: others} | {other: [loner] for other in others}
            entries.append(Entry(begin_ns + NS_PER_S // 5, "start-partition", {"grudge": grudge}))
            entries.append(Entry(begin_ns + NS_PER_S, "stop-partition"))
        entries.append(Entry(begin_ns + NS_PER_S * 3 // 2, "stop-membership"))
    return Schedule(nodes=NODES, entries=tuple(entries))


class Sizes:
    """Looks at the logs of all nodes until it is told to stop. most: of any node at any time, in bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.most = 0
        self.looks_count = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()

    def _look(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            for log in self.root.rglob("wal.log"):
                try:
                    self.most = max(self.most, log.stat().st_size)
                except OSError:  # The node was wiped meanwhile.
                    continue
                self.looks_count += 1

    def stop(self) -> None:
        """Look no more."""
        self.over.set()
        self.thread.join()


@click.command()
@click.option("--ops", "ops_wanted", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--entries", type=click.IntRange(1), default=100, show_default=True, help="Between two snapshots.")
@click.option("--env", type=click.Choice(["local", "netns"]), default="local", show_default=True)
@click.option("--seconds", type=click.FloatRange(15.0), default=40.0, show_default=True, help="Of the main phase.")
@click.option("--cuts", is_flag=True, help="Cut another node off while each catches up.")
@click.option("--seed", type=int, default=1, show_default=True)
def main(ops_wanted: int, entries: int, env: str, seconds: float, cuts: bool, seed: int) -> None:
    """Ends with 1 when the run is not VALID, was too short, or a node was not back within 10 s."""
    spec = RunSpec(
        env=env,
        nodes=NODES,
        rate_hz=0.0,
        concurrency=20,
        time_limit_s=seconds,
        target_options={"snapshot_entries": entries, "election_ms_min": 500, "election_ms_max": 1000},
        seed=seed,
    )
    faults = replacements(2.0, (seconds - 4.0) / len(NODES), cuts=cuts)
    with tempfile.TemporaryDirectory(prefix="snapshots-") as root:
        sizes = Sizes(Path(root))
        began_s = time.monotonic()
        run, result = run_into(Store(Path(root)), plan.prepare(spec, saved=faults))
        sizes.stop()
        lasted_s = time.monotonic() - began_s
        ops = jsonl.read(run.history).history.ops
    ended_count = sum(op.process != NEMESIS and op.type in ("ok", "fail") for op in ops)
    took_s = []
    began_ns = 0
    for op in ops:
        if op.process == NEMESIS and op.type == "info" and op.value.get("status") == "installed":
            if op.f == "start-membership":
                began_ns = op.time
            elif op.f == "stop-membership" and began_ns:
                took_s.append((op.time - began_ns) / NS_PER_S)
                began_ns = 0
    click.echo(f"{env}: {result.verdict.validity.name}, {ended_count} ops ended in {lasted_s:.0f} s")
    click.echo(f"log on disk: {sizes.most:,} bytes at most, of {sizes.looks_count} looks")
    click.echo(f"replaced nodes voted again after {', '.join(f'{each:.1f}' for each in took_s)} s")
    is_good = (
        result.verdict.validity is Validity.VALID
        and ended_count >= ops_wanted
        and len(took_s) == len(NODES)
        and max(took_s) < 10.0
    )
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
