"""The whole of a run as data: with the same spec, a simulated run gives the same bytes and a real one the same plan."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from harness.errors import UsageError, unknown_name
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.printing import line, quoted

SPEC_VERSION = 1
STATES_MAX = 10**15
"""Of a budget of configurations; more than any machine looks at in a year."""
Options = TypeVar("Options", bound=msgspec.Struct)
KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false"}
"""What an option of a plain type may be, in words."""
NODE_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62})\Z")


class RunSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to run. Everything that is random in a run comes from `seed`.

    name: the folder below the store; "" for one that has the target's and the workload's name. target_options, workload_options,
    env_options: raw, typed by their owners. consistency: the model that the history is checked for; "" for what the target claims.
    checkers: asked for beside those of the claim, by name or package.module:function. nemesis: fault names of the command line.
    interval_s: mean time between two faults of one family. fault_share: the share of the time that each family's faults are in
    force; None: by the number of families (fault_planner.usual_share). calm_share: of the main phase, in one stretch that the seed
    places, during which no fault is in force. nodes: names, in order. concurrency: clients. rate_hz: ops a second over all
    clients, 0 for as fast as they can. quiet_s: between the heal and the final reads. schedule_digest: SHA-256 of the saved
    schedule that replaces the planned one; "" when planned. script_digest: of the script that replaces what the workload's clients
    would do; "" when they do that. vacuity: thresholds below which a run proves nothing. swarm: each seed of a sweep draws what is
    left at its default (harness.campaign.swarm).
    """

    version: int = SPEC_VERSION
    name: str = ""
    target: str = "raft"
    target_options: dict[str, Any] = {}
    bugs: tuple[str, ...] = ()
    workload: str = "register"
    workload_options: dict[str, Any] = {}
    consistency: str = ""
    checkers: tuple[str, ...] = ()
    nemesis: tuple[str, ...] = ()
    interval_s: float = 2.0
    fault_share: float | None = None
    calm_share: float = 0.0
    beyond_model: bool = False
    env: str = "local"
    env_options: dict[str, Any] = {}
    nodes: tuple[str, ...] = ("n1", "n2", "n3", "n4", "n5")
    concurrency: int = 10
    rate_hz: float = 100.0
    time_limit_s: float = 30.0
    quiet_s: float = 1.0
    client_timeout_s: float = 2.0
    seed: int = 0
    schedule_digest: str = ""
    script_digest: str = ""
    vacuity: dict[str, int] = {}
    check_states: int | None = None
    check_time_limit_s: float | None = None
    swarm: bool = False

    def __post_init__(self) -> None:
        if self.version != SPEC_VERSION:
            raise ValueError(f"version {self.version}: this themis reads spec version {SPEC_VERSION}")
        if not 1 <= len(self.nodes) <= 99:
            raise ValueError(f"nodes: {len(self.nodes)} of them; give 1 to 99")
        if len(set(self.nodes)) != len(self.nodes):
            raise ValueError(f"nodes: {', '.join(self.nodes)} names one node twice")
        for node in self.nodes:
            if not NODE_NAME.match(node):
                raise ValueError(f"nodes: {node!r} is no host name (letters, digits, '.', '_', '-')")
        for field, value, least, most in (
            ("concurrency", self.concurrency, 1, 10_000),
            ("rate", self.rate_hz, 0, 1_000_000),
            ("time-limit", self.time_limit_s, 0.1, 30 * 86_400),
            ("nemesis-interval", self.interval_s, 0.05, 86_400),
            ("fault-share", 0.5 if self.fault_share is None else self.fault_share, 0.01, 0.95),
            ("calm-share", self.calm_share, 0, 0.9),
            ("quiet-period", self.quiet_s, 0, 3_600),
            ("client-timeout", self.client_timeout_s, 0.01, 3_600),
            ("seed", self.seed, 0, 2**63 - 1),
            ("check-states", self.check_states or 1, 1, STATES_MAX),
            ("check-time-limit", self.check_time_limit_s or 1.0, 0.001, 30 * 86_400),
        ):
            if not least <= value <= most:  # Nor is NaN.
                shown = quoted(value) if isinstance(value, int) else f"{value:.15g}"
                raise ValueError(f"{field}: {shown} is not between {least} and {most}")
        if self.check_states == 0 or self.check_time_limit_s == 0:
            raise ValueError("check-states and check-time-limit: a budget of 0 checks nothing; leave it out for none")
        for threshold, number in self.vacuity.items():
            if not 0 <= number <= 2**53:
                raise ValueError(f"vacuity: {threshold}={number} is not between 0 and {2**53}")
        if self.name in ("latest", "current"):
            raise ValueError(f"name: {self.name!r} is a link of the store; choose another")
        if self.name and not NODE_NAME.match(self.name):
            raise ValueError(f"name: {self.name!r} cannot be a folder name (letters, digits, '.', '_', '-')")


_DECODER = msgspec.json.Decoder(RunSpec)


REQUIRED = (
    "version", "target", "workload", "nemesis", "interval_s", "env", "nodes", "concurrency", "rate_hz", "time_limit_s",
    "quiet_s", "client_timeout_s", "seed",
)  # fmt: skip
"""What a spec in a file must say: a default in its place would be another run under the same name."""

IDENTIFYING = frozenset({"target", "workload", "seed"})
"""An object that has none of these is no spec that somebody changed, but something else."""


def decode_spec(text: bytes, where: str) -> RunSpec:
    """The spec in `text`. Raises UsageError naming `where`, the field and the rule."""
    try:
        raw = decoded(msgspec.json.decode, text, FILE_DEPTH_MAX)
    except msgspec.DecodeError as error:
        raise UnreadableSpec(f"{where}: not JSON: {line(error)}") from error
    if not isinstance(raw, dict):
        raise UnreadableSpec(f"{where}: not a spec: it is no JSON object")
    refusal = UsageError if raw.keys() & IDENTIFYING else UnreadableSpec
    try:
        spec = msgspec.convert(raw, type=RunSpec)
    except msgspec.ValidationError as error:
        raise refusal(f"{where}: {line(error)}") from error
    if missing := [field for field in REQUIRED if field not in raw]:
        are_due = f"{missing[0]} is missing" if len(missing) == 1 else f"{', '.join(missing)} are missing"
        raise refusal(f"{where}: {are_due}; a run's spec.json says all of what was run")
    return spec


class UnreadableSpec(UsageError):
    """A spec.json that is damaged: it is no JSON object, or one that is not about a run. (A spec that somebody changed is not
    damaged: it is refused, and kept.)"""


def typed_options(kind: str, raw: dict[str, Any], type_: type[Options]) -> Options:
    """`raw` (strings from a command line, or values from a file) as options of `type_`.

    Raises UsageError that names a misspelt option with the nearest real one, or the option whose value does not fit.
    """
    fields = {field.encode_name for field in msgspec.structs.fields(type_)}
    for name in raw:
        if name not in fields:
            raise unknown_name(f"{kind} option", name, fields)
    try:
        return msgspec.convert(raw, type_, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"{kind} options: {_misfit(raw, type_) or error}") from error


def _misfit(raw: dict[str, Any], type_: type[Options]) -> str:
    """Which option has a value that it cannot have, and what it may be; empty where that is not what is wrong."""
    for field in msgspec.structs.fields(type_):
        words = get_args(field.type) if get_origin(field.type) is Literal else ()
        name = field.encode_name
        if name not in raw:
            continue
        if words and raw[name] not in words:
            return f"{name} is {quoted(raw[name])}; it must be one of {', '.join(map(str, words))}"
        if field.type in KINDS and not _fits(raw[name], field.type):
            return f"{name} is {quoted(raw[name])}; it must be {KINDS[field.type]}"
    return ""


def _fits(value: object, type_: type) -> bool:
    try:
        msgspec.convert(value, type_, strict=False)
    except msgspec.ValidationError:
        return False
    return True
