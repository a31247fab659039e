"""What a machine must have to run a program outside the project: the program itself, in a version that will do, and libfaketime
where clocks are moved; and what this process must have to talk to it: the program's client library."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence

import msgspec

from harness.environments.base import Deployment, EnvironmentUnavailable
from harness.environments.real import faketime
from harness.environments.real.executor import ExecutorFailed
from harness.environments.real.faketime import Run
from targets.target import Program


class Admission(msgspec.Struct, frozen=True):
    """library: where libfaketime is; "" where the run does not move clocks, or cannot: lacking says why, and what to do."""

    library: str = ""
    lacking: str = ""


def admit(deployment: Deployment, run: Run, where: str) -> Admission:
    """What the machine on which `run` runs has for the deployment's target; a CoreTarget asks nothing of it.

    Raises EnvironmentUnavailable with what to do where the program is not installed.
    """
    program = deployment.target
    if not isinstance(program, Program):
        return Admission()
    check_library(program)
    find_program(program, run, where)
    if not deployment.moves_clocks:
        return Admission()
    try:
        return Admission(library=faketime.find_library(program, run, where))
    except EnvironmentUnavailable as error:
        return Admission(lacking=str(error))


def check_library(program: Program) -> None:
    """This process can import what the program's client needs. Raises EnvironmentUnavailable with the command that installs it."""
    if not program.library:
        return
    module, distribution = program.library
    if importlib.util.find_spec(module) is None:
        raise EnvironmentUnavailable(
            f"the client of {program.name} needs the Python package {module}, which is not installed: "
            f"pip install '{distribution}'"
        )


def find_program(program: Program, run: Run, where: str) -> str:
    """The version of the program there, "" where it does not tell. Raises EnvironmentUnavailable with what to do where it is not
    installed, or too old."""
    argv = list(program.installed)
    if not argv:
        return ""
    try:
        ran = run(argv)
    except ExecutorFailed as error:
        raise _not_installed(program, where, str(error)) from error
    if ran.exit_code:
        words = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()
        said = f"`{' '.join(argv)}` ends with status {ran.exit_code}{f': {words[-1][:300]}' if words else ''}"
        raise _not_installed(program, where, said)
    if not program.version:
        return ""
    printed = (ran.stdout + ran.stderr).decode(errors="replace")
    if (found := re.search(program.version, printed)) is None:
        raise EnvironmentUnavailable(
            f"{where}: `{' '.join(argv)}` printed no version of {program.name}: {printed.strip()[:300]!r}; {program.install}"
        )
    version = tuple(int(part) for part in found.groups())
    if version < tuple(program.version_min):
        raise EnvironmentUnavailable(
            f"{where}: {program.name} {_dotted(version)} is too old, it must be {_dotted(program.version_min)} or newer: "
            f"{program.install}"
        )
    return _dotted(version)


def _not_installed(program: Program, where: str, said: str) -> EnvironmentUnavailable:
    return EnvironmentUnavailable(f"{where}: {program.name} is not installed ({said}): {program.install}")


def _dotted(version: Sequence[int]) -> str:
    return ".".join(map(str, version))
