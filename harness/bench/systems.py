"""Known answers: systems that people run, under faults, with the verdict that their own documentation lets one expect.

    python -m harness.bench.systems --list
    python -m harness.bench.systems etcd-linearizable --runs 10 --results seen.jsonl
    python -m harness.bench.systems --results seen.jsonl --write docs/systems.md

The first form names the rows, the second does runs of one and adds a line for each to the file of results, the third writes the
table of all results into the page, between its two marks, where rows without a result stay as they are. Rows in netns and docker
need root.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from checkers.verdict import Validity
from harness.bench.known_answer import Row
from harness.bench.known_answer import known_answer as _row
from harness.bench.postgres_answers import POSTGRES
from harness.run import execute, plan
from harness.store.runs import Store

BEGIN, END = "<!-- table: python -m harness.bench.systems --write -->", "<!-- end of table -->"
ANOMALY_CHARS_MAX = 150
THREE, FIVE = ("n1", "n2", "n3"), ("n1", "n2", "n3", "n4", "n5")
ETCD = "https://etcd.io/docs/v3.4/learning/api_guarantees/"
ETCD_LOCKS = "https://etcd.io/docs/v3.4/learning/why/#using-etcd-for-distributed-coordination"
SENTINEL = "https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/"
PERSISTENCE = "https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/"
WAIT = "https://redis.io/docs/latest/commands/wait/"
ZOOKEEPER = "https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#ch_zkGuarantees"
RECIPES = "https://zookeeper.apache.org/doc/r3.8.0/recipes.html"
SESSIONS = "https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html#ch_zkSessions"
LOCKS = "https://redis.io/docs/latest/develop/clients/patterns/distributed-locks/"


class Seen(msgspec.Struct, frozen=True):
    """One run of a row. anomaly: the reason of the first part that is invalid,
    or else unknown. ok_hz: acknowledged ops a second of the main phase.
    controller_cores: processor seconds of the controller, its check included, a second of the main phase."""

    row: str
    seed: int
    time_limit_s: float
    verdict: str
    anomaly: str
    ok_hz: float
    controller_cores: float
    lost: int | None = None
    """How many acknowledged elements the last reads lack, where the row counts them."""


def _set_row(name: str, expected: str, because: str, source: str, target_options: Mapping[str, Any]) -> Row:
    """Redis with Sentinel: elements are added to sets, and the last reads tell how many acknowledged ones were lost. A stale read
    is no loss."""
    return _row(
        name,
        expected,
        because,
        source,
        nodes=THREE,
        nemesis=("partition:primary",),
        interval_s=8.0,
        quiet_s=15.0,
        workload="set",
        workload_options={"add": 4, "remove": 0, "contains": 0, "read": 1, "ops_per_key": 400},
        consistency="nothing-lost",
        target_options=target_options,
    )


ALL = ("partition", "kill", "pause")
POWER = ("kill", "disk:lose-unsynced")
"""Killed, and killed with all that was not synced lost."""
ROWS: tuple[Row, ...] = (
    _row("etcd-linearizable", "valid", "reads and writes are linearizable", ETCD, nodes=FIVE, nemesis=ALL),
    _row("etcd-power", "valid", "a write is on the disks of a majority", ETCD, nodes=THREE, nemesis=POWER),
    _row("etcd-set", "valid", "so are keys, counts and ranges", ETCD, nodes=THREE, nemesis=ALL, workload="set"),
    _row(
        "etcd-compacted",
        "valid",
        "compaction drops old revisions only, and a member that is far behind is sent a snapshot",
        "https://etcd.io/docs/v3.4/op-guide/maintenance/",
        nodes=THREE,
        nemesis=ALL,
        interval_s=6.0,
        target_options={"snapshot_count": 50, "snapshot_catchup": 10, "compact_every_s": 1.0},
    ),
    _row(
        "etcd-members",
        "valid",
        "members are removed, added and replaced while clients go on",
        "https://etcd.io/docs/v3.4/op-guide/runtime-configuration/",
        nodes=FIVE,
        nemesis=("kill", "partition", "membership"),
        interval_s=8.0,
    ),
    _row(
        "etcd-serializable",
        "invalid",
        "a serializable read is answered by one node alone and may be stale",
        ETCD,
        nodes=FIVE,
        nemesis=("partition", "pause"),
        target_options={"reads": "serializable"},
    ),
    _row(
        "etcd-lock",
        "invalid",
        "a lock by lease excludes nobody after the lease has run out; the resource must check the revision",
        ETCD_LOCKS,
        nodes=THREE,
        nemesis=("partition",),
        interval_s=10.0,
        workload="lock",
        target_options={"lease_ttl_s": 1},
    ),
    _row(
        "redis-always",
        "valid",
        "one server, appendfsync always: what was acknowledged is in the file",
        PERSISTENCE,
        nodes=("n1",),
        nemesis=("kill", "pause"),
    ),
    _row(
        "redis-everysec",
        "valid",
        "one server, appendfsync everysec: a killed process loses nothing that the kernel has, only lost power does",
        PERSISTENCE,
        nodes=("n1",),
        nemesis=("kill", "pause"),
        target_options={"fsync": "everysec"},
    ),
    _row(
        "redis-always-power",
        "valid",
        "one server, appendfsync always: what was acknowledged is on the disk",
        PERSISTENCE,
        nodes=("n1",),
        nemesis=POWER,
    ),
    _row(
        "redis-everysec-power",
        "invalid",
        "one server, appendfsync everysec: lost power loses the writes of a second",
        PERSISTENCE,
        nodes=("n1",),
        nemesis=POWER,
        target_options={"fsync": "everysec"},
        beyond_model=True,
    ),
    _row(
        "redis-off",
        "invalid",
        "one server without append-only file and snapshots keeps nothing",
        PERSISTENCE,
        nodes=("n1",),
        nemesis=("kill",),
        target_options={"fsync": "off"},
    ),
    _row(
        "redis-lock-ttl",
        "invalid",
        "SET NX PX: the lock goes when its time is over, whether its owner knows it or not",
        LOCKS,
        nodes=("n1",),
        nemesis=("pause",),
        workload="lock",
        target_options={"lock_ttl_ms": 100},
    ),
    _row(
        "redis-sentinel",
        "invalid",
        "replication is asynchronous: a fail-over loses acknowledged writes",
        SENTINEL,
        nodes=THREE,
        nemesis=("partition:primary",),
        interval_s=8.0,
    ),
    _row(
        "redis-sentinel-converges",
        "valid",
        "the last fail-over wins: once faults are over, all agree",
        SENTINEL,
        nodes=THREE,
        nemesis=ALL,
        workload="shared-registers",
        consistency="convergent",
        quiet_s=15.0,
    ),
    _row(
        "redis-sentinel-min-replicas",
        "either",
        "min-replicas-to-write bounds how long a cut-off master takes writes, and does not end the loss",
        SENTINEL,
        nodes=THREE,
        nemesis=("partition:primary",),
        interval_s=8.0,
        target_options={"min_replicas_to_write": 1},
    ),
    _row(
        "redis-sentinel-wait",
        "either",
        "WAIT makes the loss of a write unlikely, and does not make Redis strongly consistent",
        WAIT,
        nodes=THREE,
        nemesis=("partition:primary",),
        interval_s=8.0,
        target_options={"wait_replicas": 1},
    ),
    _set_row(
        "redis-set", "invalid", "replication is asynchronous: a fail-over loses acknowledged writes", SENTINEL, {}
    ),
    _set_row(
        "redis-set-min-replicas",
        "either",
        "min-replicas-to-write bounds how long a cut-off master takes writes, and does not end the loss",
        SENTINEL,
        {"min_replicas_to_write": 1},
    ),
    _set_row(
        "redis-set-wait",
        "either",
        "WAIT makes the loss of a write unlikely, and does not make Redis strongly consistent",
        WAIT,
        {"wait_replicas": 1},
    ),
    _set_row(
        "redis-set-both",
        "either",
        "min-replicas-to-write and WAIT together",
        WAIT,
        {"min_replicas_to_write": 1, "wait_replicas": 1},
    ),
    _row(
        "zookeeper-plain",
        "valid",
        "updates of a client take effect in its order, and it never sees an older state: sequentially consistent",
        ZOOKEEPER,
        nodes=THREE,
        nemesis=ALL,
        interval_s=6.0,
    ),
    _row(
        "zookeeper-sync",
        "valid",
        "sync before a read, by those who must see what others wrote (not excluded: an old leader that has not noticed)",
        ZOOKEEPER,
        nodes=THREE,
        nemesis=ALL,
        interval_s=6.0,
        target_options={"reads": "sync"},
    ),
    _row(
        "zookeeper-queue",
        "valid",
        "the recipe of a queue: the lowest number is taken first, once",
        RECIPES,
        nodes=THREE,
        nemesis=ALL,
        interval_s=6.0,
        workload="queue",
    ),
    _row(
        "zookeeper-stale",
        "invalid",
        "no guarantee that two clients see the same state at one time: a plain read may be stale",
        ZOOKEEPER,
        nodes=THREE,
        nemesis=("partition",),
        interval_s=6.0,
        consistency="linearizable",
    ),
    _row(
        "zookeeper-lock",
        "either",
        "the servers end a session and its ephemeral nodes; a client that is cut off learns that when it is back",
        SESSIONS,
        nodes=THREE,
        nemesis=("partition",),
        interval_s=8.0,
        rate_hz=8.0,  # Locks are held for longer than sessions last without a sign of life.
        workload="lock",
        target_options={"session_timeout_ms": 1000},
    ),
    _row("etcd-rate", "valid", "20 clients, no faults", ETCD, nodes=THREE, env="netns", concurrency=20, rate_hz=0.0),
    _row(
        "redis-rate", "valid", "20 clients, no faults", SENTINEL, nodes=THREE, env="netns", concurrency=20, rate_hz=0.0
    ),
    _row(
        "zookeeper-rate",
        "valid",
        "20 clients, no faults",
        ZOOKEEPER,
        nodes=THREE,
        env="netns",
        concurrency=20,
        rate_hz=0.0,
    ),
    *POSTGRES,
)


def run_row(row: Row, seed: int, time_limit_s: float, env: str, store: Path) -> Seen:
    """One run. Raises UsageError where it cannot be started, and RuntimeError where the harness failed."""
    spec = msgspec.structs.replace(row.spec, seed=seed, time_limit_s=time_limit_s, env=env or row.spec.env)
    began_s = time.process_time()
    _, result = execute.run_into(Store(store), plan.prepare(spec))
    cpu_s = time.process_time() - began_s
    if result.harness:
        raise RuntimeError(f"{row.name}, seed {seed}: {result.harness[0]}")
    parts = result.verdict.parts.values()
    wrong = [part.reason for part in parts if part.validity is Validity.INVALID] or [
        part.reason for part in parts if part.validity is Validity.UNKNOWN
    ]
    return Seen(
        row.name,
        seed,
        time_limit_s,
        result.verdict.validity.name,
        wrong[0] if wrong else "",
        result.counts["ok"] / time_limit_s,
        cpu_s / time_limit_s,
        next((int(part.stats["lost"]) for part in parts if "lost" in part.stats), None),
    )


def table(seen: Sequence[Seen]) -> list[str]:
    """The Markdown table: a line for each row that was run."""
    lines = [
        "| row | options | workload, faults, nodes | expected | seen | first anomaly |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        mine = [one for one in seen if one.row == row.name]
        if not mine:
            continue
        spec = row.spec
        options = " ".join(f"`{name}={value}`" for name, value in spec.target_options.items())
        runs = Counter((one.verdict, one.time_limit_s) for one in mine)
        told = ", ".join(f"{count} {verdict} of {limit:g} s" for (verdict, limit), count in sorted(runs.items()))
        if not spec.nemesis:
            rates, cores = [one.ok_hz for one in mine], [one.controller_cores for one in mine]
            told += f"; {min(rates):,.0f} to {max(rates):,.0f} ok ops/s, controller {max(cores):.2f} of a core at most"
        if lost := [one.lost for one in mine if one.lost is not None]:
            told += f"; lost acknowledged writes of a run: {', '.join(map(str, lost))}"
        anomaly = next((one.anomaly for one in mine if one.anomaly), "")
        shown = anomaly if len(anomaly) <= ANOMALY_CHARS_MAX else f"{anomaly[:ANOMALY_CHARS_MAX]}..."
        what = f"{spec.workload}, {', '.join(spec.nemesis) or 'none'}, {len(spec.nodes)}"
        if spec.consistency:
            what += f", checked for `{spec.consistency}`"
        expected = f"{row.expected}: [{row.because}]({row.source})"
        lines.append(f"| {row.name} | {options} | {what} | {expected} | {told} | {_cell(shown)} |")
    return lines


def merged(before: Sequence[str], lines: Sequence[str]) -> list[str]:
    """The new table with the rows of the one before that were not run again, all in the order of ROWS."""
    made = {_name(line): line for line in (*before, *lines) if line.startswith("| ")}
    return [*lines[:2], *(made[row.name] for row in ROWS if row.name in made)]


def _name(line: str) -> str:
    return line.split("|")[1].strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def read(results: Path) -> list[Seen]:
    """What earlier runs left in the file; nothing where there is none."""
    if not results.exists():
        return []
    return [msgspec.json.decode(line, type=Seen) for line in results.read_bytes().splitlines()]


def differing(seen: Sequence[Seen]) -> list[str]:
    """The rows that were run, and in which something else was seen than is expected."""
    found = []
    for row in ROWS:
        verdicts = {one.verdict for one in seen if one.row == row.name}
        expected = {"valid": verdicts <= {"VALID"}, "invalid": "INVALID" in verdicts}
        if verdicts and (not expected.get(row.expected, True) or "UNKNOWN" in verdicts):
            found.append(f"{row.name}: expected {row.expected}, seen {', '.join(sorted(verdicts))}")
    return found


@click.command()
@click.argument("names", nargs=-1)
@click.option("--list", "is_list", is_flag=True, help="Print the names of the rows.")
@click.option("--runs", default=0, help="Runs of each row; the seeds go on from those in the results.")
@click.option("--time-limit", "time_limit_s", default=60.0, show_default=True, help="Seconds of each run.")
@click.option("--env", default="", help="Another environment than the row's.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("systems.jsonl"), show_default=True)
@click.option("--write", type=click.Path(path_type=Path, exists=True), help="The page to write the table into.")
def main(
    names: tuple[str, ...], is_list: bool, runs: int, time_limit_s: float, env: str, results: Path, write: Path | None
) -> None:
    """Run rows of known answers, and write the table of what was seen."""
    known = {row.name: row for row in ROWS}
    if unknown := [name for name in names if name not in known]:
        raise click.UsageError(f"no row {unknown[0]!r}; there are {', '.join(known)}")
    if is_list:
        click.echo("\n".join(known))
    seen = read(results)
    for name in names or (known if runs else ()):
        first = max((one.seed for one in seen if one.row == name), default=0) + 1
        for seed in range(first, first + runs):
            with tempfile.TemporaryDirectory(prefix="themis-systems-") as store:
                one = run_row(known[name], seed, time_limit_s, env, Path(store))
            seen.append(one)
            with results.open("ab") as file:
                file.write(msgspec.json.encode(one) + b"\n")
            click.echo(f"{name} seed {seed}: {one.verdict} {one.ok_hz:.0f} ok ops/s {one.anomaly[:ANOMALY_CHARS_MAX]}")
    if write is not None:
        text = write.read_text()
        if text.count(BEGIN) != 1 or text.count(END) != 1:
            raise click.UsageError(f"{write} has not the two marks {BEGIN} and {END}")
        before, _, rest = text.partition(BEGIN)
        old, _, after = rest.partition(END)
        lines = merged(old.splitlines(), table(seen))
        write.write_text("\n".join([before + BEGIN, "", *lines, "", END]) + after)
    if wrong := differing(seen):
        raise click.ClickException("; ".join(wrong))


if __name__ == "__main__":
    main()
