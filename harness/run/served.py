"""Whether a target serves the ops that a workload issues: an interface names a machine, and some targets serve a part of it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from harness.errors import UsageError
from harness.generators.script import Script
from harness.workloads.base import Workload
from targets.target import CoreTarget, Target


def served(target: Target, interface: str) -> frozenset[str] | None:
    """The ops of this interface that the target serves; None where it does not say."""
    return target.formats(interface).commands if isinstance(target, CoreTarget) else target.commands.get(interface)


def issued(workload: Workload, options: msgspec.Struct) -> frozenset[str]:
    """The ops that the workload issues under these options; none where it does not say."""
    commands: Callable[[msgspec.Struct], frozenset[str]] | None = getattr(workload, "commands", None)
    return frozenset() if commands is None else commands(options)


def unserved(
    target: Target, workload: Workload, options: msgspec.Struct, script: Script | None = None
) -> frozenset[str]:
    """The ops of the script, or else of the workload, that the target is known not to serve."""
    known = served(target, workload.interface)
    if known is None:
        return frozenset()
    return (issued(workload, options) if script is None else frozenset(op.f for op in script.ops)) - known


def left_out(workload: Workload, options: msgspec.Struct, ops: frozenset[str]) -> msgspec.Struct | None:
    """The options with a weight of 0 for each of these ops; None where the workload cannot do without one of them."""
    if not all(isinstance(getattr(options, op, None), int) for op in ops):
        return None
    try:
        without = msgspec.convert(msgspec.to_builtins(options) | dict.fromkeys(ops, 0), type(options))
    except msgspec.ValidationError:
        return None
    return None if issued(workload, without) & ops else without


def check_commands(
    name: str,
    target: Target,
    workload: Workload,
    options: msgspec.Struct,
    script: Script | None,
    fitting: Callable[[], list[str]],
) -> None:
    """Raises UsageError for ops that the target does not serve. fitting: the workloads that it can serve."""
    lacking = unserved(target, workload, options, script)
    if not lacking:
        return
    known = served(target, workload.interface) or ()
    who = f"the workload {workload.name}" if script is None else "the script"
    message = (
        f"{who} asks for {', '.join(sorted(lacking))}, which {name} does not serve: of the interface {workload.interface!r} "
        f"it has {', '.join(sorted(known))}."
    )
    if script is None:
        if left_out(workload, options, lacking) is not None:
            message += f" To do without: {' '.join(f'--workload-option {op}=0' for op in sorted(lacking))}."
        message += f" Workloads that it can serve: {', '.join(fitting()) or 'none that Themis knows'}"
    raise UsageError(message)
