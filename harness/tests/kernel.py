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
from typing import Any

import docker

from harness.environments import registry
from harness.environments.base import Deployment
from harness.environments.linux.environment import LinuxEnvironment
from targets.raft.target import TARGET
from targets.target import CoreTarget

NODES = ("n1", "n2", "n3", "n4", "n5")
ENVIRONMENTS = ("netns", "docker")


def environment(
    name: str, directory: Path, options: Mapping[str, Any] | None = None, target: CoreTarget = TARGET
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
        )
    )
    assert isinstance(made, LinuxEnvironment)
    return made


@contextmanager
def up(name: str, directory: Path, options: Mapping[str, Any] | None = None) -> Iterator[LinuxEnvironment]:
    """One whose nodes answer; torn down at the end."""
    made = environment(name, directory, options)
    made.check()
    try:
        made.up()
        yield made
    finally:
        made.down()


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


def traces() -> dict[str, Any]:
    """Whatever runs could leave in the kernel and in the engine."""

    def said(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout

    client = docker.from_env()
    try:
        containers = sorted(str(container.name) for container in client.containers.list(all=True))
        networks = sorted(str(network.name) for network in client.networks.list())
    finally:
        client.close()
    links = said("ip", "-o", "link")
    return {
        "namespaces": said("ip", "netns"),
        "links": sorted(re.findall(r"^\d+: (th[^:@]+|br-[^:@]+)", links, re.MULTILINE)),
        "rules": re.sub(r"\[\d+:\d+\]", "", re.sub(r"^#.*$", "", said("iptables-save"), flags=re.MULTILINE)),
        "mounts": sorted(line for line in Path("/proc/mounts").read_text().splitlines() if "themis" in line),
        "containers": containers,
        "networks": networks,
    }
