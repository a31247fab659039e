"""What a machine must have to run a program outside the project: the program itself, and libfaketime where clocks are moved."""

from __future__ import annotations

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
    _check_installed(program, run, where)
    if not deployment.moves_clocks:
        return Admission()
    try:
        return Admission(library=faketime.find_library(program, run, where))
    except EnvironmentUnavailable as error:
        return Admission(lacking=str(error))


def _check_installed(program: Program, run: Run, where: str) -> None:
    argv = list(program.installed)
    if not argv:
        return
    try:
        ran = run(argv)
    except ExecutorFailed as error:
        said = str(error)
    else:
        if ran.exit_code == 0:
            return
        words = (ran.stderr or ran.stdout).decode(errors="replace").strip().splitlines()
        said = f"`{' '.join(argv)}` ends with status {ran.exit_code}{f': {words[-1][:300]}' if words else ''}"
    raise EnvironmentUnavailable(f"{where}: {program.name} is not installed ({said}): {program.install}")
