"""The flags of `themis test` as the keys of a campaign file, and what a spec is in these."""

from __future__ import annotations

from typing import Any

from harness import notation
from harness.errors import UsageError
from harness.spec import RunSpec
from histories.printing import quoted

FLAGS = (
    "target", "target-option", "bug", "workload", "workload-option", "consistency", "checker", "nemesis", "nemesis-interval",
    "fault-share", "calm-share", "beyond-model", "env", "env-option", "nodes", "concurrency", "rate", "time-limit",
    "quiet-period", "client-timeout", "vacuity", "check-states", "check-time-limit", "swarm",
)  # fmt: skip
"""What a run of a campaign can be told: these flags of `themis test`."""


def spec_of_flags(flags: dict[str, Any]) -> RunSpec:
    """The spec that `themis test` makes of these flags. Raises UsageError or ValueError."""
    usual = RunSpec()
    nodes = notation.node_names(text_of(flags.get("nodes", 5)))
    return RunSpec(
        target=text_of(flags.get("target", usual.target)),
        target_options=_mapping("target-option", flags),
        bugs=tuple(sorted(set(_names(flags.get("bug", ""))))),
        workload=text_of(flags.get("workload", usual.workload)),
        workload_options=_mapping("workload-option", flags),
        consistency=text_of(flags.get("consistency", "")),
        checkers=tuple(dict.fromkeys(_names(flags.get("checker", "")))),
        nemesis=_names(flags.get("nemesis", "")),
        interval_s=_number("nemesis-interval", flags, usual.interval_s),
        fault_share=_number("fault-share", flags, None),
        calm_share=_number("calm-share", flags, usual.calm_share),
        beyond_model=_switch("beyond-model", flags),
        env=text_of(flags.get("env", "sim")),
        env_options=_mapping("env-option", flags),
        nodes=nodes,
        concurrency=notation.concurrency(text_of(flags.get("concurrency", "2n")), len(nodes)),
        rate_hz=_number("rate", flags, usual.rate_hz),
        time_limit_s=_number("time-limit", flags, usual.time_limit_s),
        quiet_s=_number("quiet-period", flags, usual.quiet_s),
        client_timeout_s=_number("client-timeout", flags, usual.client_timeout_s),
        vacuity={name: _whole(f"vacuity: {name}", value) for name, value in _mapping("vacuity", flags).items()},
        check_states=_whole("check-states", flags["check-states"]) if "check-states" in flags else None,
        check_time_limit_s=_number("check-time-limit", flags, None),
        swarm=_switch("swarm", flags),
    )


def flags_of(spec: RunSpec) -> dict[str, Any]:
    """The flags of which spec_of_flags makes `spec`, but for its name and its seed: those that differ from their defaults."""
    usual = spec_of_flags({})
    counted = tuple(f"n{number}" for number in range(1, len(spec.nodes) + 1))
    told: tuple[tuple[str, Any, Any], ...] = (
        ("target", spec.target, usual.target),
        ("target-option", spec.target_options, {}),
        ("bug", list(spec.bugs), []),
        ("workload", spec.workload, usual.workload),
        ("workload-option", spec.workload_options, {}),
        ("consistency", spec.consistency, ""),
        ("checker", list(spec.checkers), []),
        ("nemesis", ",".join(spec.nemesis), ""),
        ("nemesis-interval", spec.interval_s, usual.interval_s),
        ("fault-share", spec.fault_share, None),
        ("calm-share", spec.calm_share, usual.calm_share),
        ("beyond-model", spec.beyond_model, False),
        ("env", spec.env, usual.env),
        ("env-option", spec.env_options, {}),
        ("nodes", len(spec.nodes) if spec.nodes == counted else ",".join(spec.nodes), len(usual.nodes)),
        ("concurrency", spec.concurrency, 2 * len(spec.nodes)),
        ("rate", spec.rate_hz, usual.rate_hz),
        ("time-limit", spec.time_limit_s, usual.time_limit_s),
        ("quiet-period", spec.quiet_s, usual.quiet_s),
        ("client-timeout", spec.client_timeout_s, usual.client_timeout_s),
        ("vacuity", spec.vacuity, {}),
        ("check-states", spec.check_states, None),
        ("check-time-limit", spec.check_time_limit_s, None),
        ("swarm", spec.swarm, False),
    )
    return {flag: value for flag, value, default in told if value != default}


def text_of(value: Any) -> str:
    """The value as it would stand on a command line."""
    if isinstance(value, dict):
        return ",".join(f"{name}={text_of(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    return "" if value is None else str(value)


def _names(value: Any) -> tuple[str, ...]:
    return notation.names(text_of(value))


def _number(flag: str, flags: dict[str, Any], usual: Any) -> Any:
    if flag not in flags:
        return usual
    value = flags[flag]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{flag}: {_shown(value)} is no number")
    try:
        return float(value)
    except OverflowError:
        raise UsageError(f"{flag}: {_shown(value)} is too large") from None


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"{name}: {_shown(value)} is no whole number")
    return value


def _switch(flag: str, flags: dict[str, Any]) -> bool:
    value = flags.get(flag, False)
    if not isinstance(value, bool):
        raise UsageError(f"{flag}: {_shown(value)} is neither true nor false")
    return value


def _shown(value: Any) -> str:
    return "an empty value" if value is None else quoted(value)


def _mapping(flag: str, flags: dict[str, Any]) -> dict[str, Any]:
    value = flags.get(flag, {})
    if not isinstance(value, dict):
        raise UsageError(f"{flag}: names with values are due here, such as {{name: value}}")
    return value
