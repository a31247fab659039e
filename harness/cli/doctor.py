"""`themis doctor`: what this machine can run (Python, the native core, each environment), what is missing, and the command that
mends it."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from harness.cli import options
from harness.environments import fault_table
from harness.environments import registry as environments
from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.real import faketime, requirements
from harness.environments.real.executor import run_here
from harness.environments.write_cache import protocol
from harness.errors import HARNESS
from harness.run.plan import find_target
from histories.printing import line
from targets import registry as targets
from targets.target import Program

NEEDS_HOSTS = frozenset({"ssh"})
"""Environments whose nodes are machines that only a run names."""


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one check. is_essential: without it not even the default environment runs."""

    subject: str
    is_ok: bool
    detail: str
    remedy: str = ""
    is_essential: bool = False


def examine() -> list[Finding]:
    """Do every check; nothing is started or changed."""
    return [
        python(),
        cores(),
        native_core(),
        faked_clocks(),
        power_losses(),
        *programs(),
        *map(environment, environments.names()),
    ]


def python() -> Finding:
    """The interpreter is new enough."""
    good = sys.version_info >= (3, 11)
    remedy = "" if good else "install Python 3.11 or newer and make the virtual environment anew"
    return Finding("python", good, f"{platform.python_version()} on {platform.system()}", remedy, is_essential=True)


def cores() -> Finding:
    """How many processors there are."""
    count = os.cpu_count() or 1
    remedy = "" if count > 1 else "real runs at more than about 100 ops/s want two cores; env sim runs well on one"
    return Finding("processors", count > 1, f"{count}", remedy)


def native_core() -> Finding:
    """Which search core the linearizability checker will use."""
    from checkers.linearizability import native

    if native.is_pure_forced():
        return Finding("native core", False, "switched off: CHECKERS_PURE=1", "unset CHECKERS_PURE")
    if native.core is not None:
        return Finding("native core", True, "the compiled search core is in use")
    return Finding(
        "native core",
        False,
        "not built: the pure twin works, some hundred times slower",
        "install a C++ compiler (Debian: apt-get install g++), then: pip install --force-reinstall --no-deps -e .",
    )


def faked_clocks() -> Finding:
    """Whether the clocks of programs outside the project can be moved in `local` and `netns`; our own nodes need nothing."""
    try:
        library = faketime.installed_library(run_here, "this machine")
    except EnvironmentUnavailable:
        return Finding("libfaketime", False, "clock faults of programs outside the project need it", faketime.INSTALL)
    return Finding("libfaketime", True, library)


def power_losses() -> Finding:
    """Whether disks can lose what was not synced in `local`, `netns` and `docker`; in `ssh` the nodes' machines are examined."""
    if lacking := protocol.lacking():
        return Finding("fuse", False, "disk:lose-unsynced and disk:torn-write need it", lacking)
    return Finding("fuse", True, "disks can lose what was not synced (disk:lose-unsynced, disk:torn-write)")


def programs() -> list[Finding]:
    """Whether the built-in targets that are programs outside the project are here, with what their clients need; runs in `docker`
    and `ssh` look for the program on the nodes instead."""
    found = []
    for name in targets.BUILT_IN:
        target = find_target(name)
        if not isinstance(target, Program):
            continue
        try:
            requirements.check_library(target)
            version = requirements.find_program(target, run_here, "this machine")
        except EnvironmentUnavailable as error:
            found.append(Finding(f"target {name}", False, str(error)))
        else:
            found.append(Finding(f"target {name}", True, f"version {version}"))
    return found


def environment(name: str) -> Finding:
    """Whether the environment can run here, judged by its own check."""
    if name in NEEDS_HOSTS:
        environments.find(name)
        return Finding(f"env {name}", True, "the client side is there; hosts are examined when a run names them")
    target = find_target("raft")
    with tempfile.TemporaryDirectory(prefix="themis-doctor-") as directory:
        deployment = Deployment(
            run_id="doctor",
            directory=Path(directory),
            target=target,
            options=target.option_type(),
            bugs=frozenset(),
            nodes=("n1", "n2", "n3", "n4", "n5"),
            seed=0,
        )
        essential = name in ("local", "sim")
        try:
            environments.find(name)(deployment).check()
        except EnvironmentUnavailable as error:
            return Finding(f"env {name}", False, str(error), is_essential=essential)
        except (ImportError, OSError) as error:
            return Finding(f"env {name}", False, f"{type(error).__name__}: {error}", is_essential=essential)
    return Finding(f"env {name}", True, "can run here", is_essential=essential)


def fault_lines(findings: Sequence[Finding]) -> list[str]:
    """The table of faults by environment, for a terminal: `yes`, `no`, or a letter that says below what it needs. An
    environment that cannot run here has no faults."""
    able = {finding.subject.removeprefix("env ") for finding in findings if finding.is_ok}
    letters: dict[str, str] = {}
    rows = [["fault", *fault_table.ABILITIES]]
    for name, cells in fault_table.rows():
        row = [name]
        for environment, needed in cells.items():
            if needed is None or environment not in able:
                row.append("no")
            else:
                row.append(letters.setdefault(needed, chr(ord("a") + len(letters))) if needed else "yes")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *(f"{letter}: {needed}" for needed, letter in letters.items())]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON document.")
def doctor(as_json: bool) -> int:
    """What can run on this machine, what is missing, and the command that mends it; and which faults each environment can do.

    Exit code 0 when the embedded default (environment local) can run, 255 when it cannot.

    \b
    Example:
      themis doctor
    """
    findings = examine()
    if as_json:
        options.echo_json(findings)
    else:
        for finding in findings:
            mark = click.style("ok  ", fg="green") if finding.is_ok else click.style("no  ", fg="yellow")
            click.echo(f"{mark} {finding.subject:<14} {line(finding.detail)}")
            if finding.remedy:
                click.echo(f"     {'':<14} {line(finding.remedy)}")
        click.echo()
        for row in fault_lines(findings):
            click.echo(row)
    return 0 if all(finding.is_ok for finding in findings if finding.is_essential) else HARNESS
