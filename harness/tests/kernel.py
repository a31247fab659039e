"""For the tests that need root, namespaces and a Docker engine: environments to hold in hand, whole runs by the command, and
what there is in the kernel and the engine, to compare before and after."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import docker

from harness.environments import registry
from harness.environments.base import Deployment
from harness.environments.docker.environment import CONTROLLER_LABEL
from harness.environments.linux import labels
from harness.environments.linux.environment import LinuxEnvironment
from harness.environments.netns import network
from targets.raft.target import TARGET
from targets.target import CoreTarget

NODES = ("n1", "n2", "n3", "n4", "n5")
ENVIRONMENTS = ("netns", "docker")
PCAP_MAGIC = b"\xd4\xc3\xb2\xa1"
"""The first bytes of a file of packets, as tcpdump writes it on a machine like this."""
LEAVING_S_MAX = 5.0
UP_TIMEOUT_S = 240.0
"""An emulated machine on a busy one is slow."""


def environment(
    name: str,
    directory: Path,
    options: Mapping[str, Any] | None = None,
    target: CoreTarget = TARGET,
    *,
    loses_unsynced: bool = False,
) -> LinuxEnvironment:
    """One that is not started."""
    made = registry.find(name)(
        Deployment(
            run_id=f"test-{name}-{time.time_ns()}",
            directory=directory,
            target=target,
            options=target.option_type(),
            bugs=frozenset(),
            nodes=NODES,
            seed=7,
            env_options=dict(options or {}),
            loses_unsynced=loses_unsynced,
        )
    )
    return cast(LinuxEnvironment, made)


@contextmanager
def up(
    name: str, directory: Path, options: Mapping[str, Any] | None = None, *, loses_unsynced: bool = False
) -> Iterator[LinuxEnvironment]:
    """One whose nodes answer; torn down at the end."""
    made = environment(name, directory, options, loses_unsynced=loses_unsynced)
    made.up_timeout_s = UP_TIMEOUT_S
    made.check()
    try:
        made.up()
        yield made
    finally:
        made.down()


def await_statuses(environment: LinuxEnvironment, timeout_s: float = 15.0) -> None:
    """Every node answers: on a busy machine not always within the time that one question waits."""
    deadline_s = time.monotonic() + timeout_s
    while silent := set(NODES) - set(environment.statuses()):
        assert time.monotonic() < deadline_s, f"{', '.join(sorted(silent))} did not answer within {timeout_s:g} s"


def themis(*arguments: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def run(store: Path, env: str, nemesis: str, seed: int, seconds: int, *more: str | Path) -> dict[str, Any]:
    """What `themis test --json` says of one run of Raft."""
    asked = ["--env", env, "--nodes", "5", "--rate", "100", "--time-limit", str(seconds), "--seed", str(seed)]
    ended = themis("test", *asked, "--nemesis", nemesis, "--store", store, "--json", *more)
    assert ended.stdout, ended.stderr
    data: dict[str, Any] = json.loads(ended.stdout)
    assert data["exit_code"] == ended.returncode, ended.stderr
    return data


def faults(run_directory: Path) -> list[dict[str, Any]]:
    """Every completed fault op of a recorded run: f and its value's fields."""
    found = []
    for line in (run_directory / "history.jsonl").read_text().splitlines():
        op = json.loads(line)
        if op.get("process") == "nemesis" and op["type"] == "info":
            found.append({"f": op["f"], **op["value"]})
    return found


def begun(run_directory: Path) -> list[tuple[str, object]]:
    """Every fault op that a recorded run began, in order: its f and the value that was asked."""
    ops = [json.loads(line) for line in (run_directory / "history.jsonl").read_text().splitlines()]
    return [(op["f"], op.get("value")) for op in ops if op.get("process") == "nemesis" and op["type"] == "invoke"]


def traces(*, with_living: bool = False) -> frozenset[str]:
    """Whatever runs could leave in the kernel and in the engine, a line each; without the networks of runs that others have
    going on this machine just now, unless with_living."""

    def said(*argv: str) -> list[str]:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()

    ours = labels.controller()

    def is_anothers(label: str) -> bool:
        return bool(label) and label != ours and not labels.is_orphan(label) and not with_living

    living = [bridge.name for bridge in network.bridges() if is_anothers(bridge.label)]
    client = docker.from_env()
    try:
        containers = [
            f"container {container.name}" for container in client.containers.list(all=True, ignore_removed=True)
        ]
        networks = [f"network {joined.name}" for joined in client.networks.list()]
        for container in client.containers.list(all=True, ignore_removed=True, filters={"label": CONTROLLER_LABEL}):
            if is_anothers(container.labels[CONTROLLER_LABEL]):
                living.append(str(container.name))
        for joined in client.networks.list(filters={"label": CONTROLLER_LABEL}):
            if is_anothers(joined.attrs["Labels"][CONTROLLER_LABEL]):
                living += [str(joined.name), f"br-{str(joined.id)[:12]}"]
    finally:
        client.close()
    found = [
        *(f"namespace {line.split()[0]}" for line in said("ip", "netns")),
        *(f"link {found[1]}" for line in said("ip", "-o", "link") if (found := re.match(r"\d+: (th\w+|br-\w+)", line))),
        *(f"rule {line.partition(' [')[0]}" for line in said("iptables-save") if not line.startswith("#")),
        *(f"mount {line}" for line in Path("/proc/mounts").read_text().splitlines() if "themis" in line),
        *containers,
        *networks,
    ]
    return frozenset(line for line in found if not any(name in line for name in living))


def leaked(before: frozenset[str]) -> list[str]:
    """What was not there before, and stays. Another test's engine may be taking its own away just now."""
    deadline_s = time.monotonic() + LEAVING_S_MAX
    found = traces() - before
    while found and time.monotonic() < deadline_s:
        time.sleep(0.2)
        found &= traces()
    return sorted(found)
