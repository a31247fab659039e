"""The command line that runs a spec again: what a sweep prints for each seed that failed."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

import msgspec

from harness.spec import RunSpec


def command_line(spec: RunSpec) -> str:
    """The command line that runs `spec` again, with every flag that differs from its default."""
    usual = RunSpec()
    words = ["themis", "test", "--env", spec.env, "--target", spec.target, "--workload", spec.workload]
    for flag, options in (
        ("--target-option", spec.target_options),
        ("--workload-option", spec.workload_options),
        ("--env-option", spec.env_options),
        ("--vacuity", spec.vacuity),
    ):
        for name, value in options.items():
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            words += [flag, f"{name}={text}"]
    for bug in spec.bugs:
        words += ["--bug", bug]
    if spec.consistency:
        words += ["--consistency", spec.consistency]
    for name in spec.checkers:
        words += ["--checker", name]
    words += ["--nemesis", ",".join(spec.nemesis) or "none", "--nodes", _nodes_flag(spec.nodes)]
    words += ["--concurrency", str(spec.concurrency)]
    if spec.beyond_model:
        words.append("--beyond-model")
    for flag, value, default in (
        ("--nemesis-interval", spec.interval_s, usual.interval_s),
        ("--fault-share", spec.fault_share, usual.fault_share),
        ("--calm-share", spec.calm_share, usual.calm_share),
        ("--rate", spec.rate_hz, usual.rate_hz),
        ("--time-limit", spec.time_limit_s, math.nan),
        ("--quiet-period", spec.quiet_s, usual.quiet_s),
        ("--client-timeout", spec.client_timeout_s, usual.client_timeout_s),
        ("--check-states", spec.check_states, usual.check_states),
        ("--check-time-limit", spec.check_time_limit_s, usual.check_time_limit_s),
    ):
        if value is not None and value != default:
            words += [flag, _number(value)]
    return shlex.join([*words, "--seed", str(spec.seed)])


def _number(value: float) -> str:
    """Read again it is the same number: a share of 4/15 has more than six digits, and ten million is no 1e+07 states."""
    short = f"{value:g}"
    return short if float(short) == value and "e" not in short else repr(value)


def _nodes_flag(names: Sequence[str]) -> str:
    counted = tuple(f"n{number}" for number in range(1, len(names) + 1))
    return str(len(names)) if tuple(names) == counted else ",".join(names)
