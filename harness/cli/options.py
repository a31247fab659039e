"""Options that several commands have, and readers of their values: counts such as `3n`, lists, `KEY=VALUE` pairs."""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from harness.errors import UsageError
from histories.json_text import FILE_DEPTH_MAX
from histories.json_text import decoded as decode_json
from histories.printing import harmless, json_text

STORE = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("store"),
    show_default=True,
    help="The folder that runs are kept in.",
)
SHARE = click.option(
    "--share",
    is_flag=True,
    help="Others on this machine may read the run. Default: its files are readable by you alone.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")

BUDGET_S_MAX = 30 * 86_400


def budget_s(text: str) -> float:
    """A click type for the seconds that a check may take; click's own type accepts nan."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= BUDGET_S_MAX:
        raise click.BadParameter(f"{text} is not a number of seconds above 0, at most {BUDGET_S_MAX:,}")
    return seconds


def span_s(text: str) -> float:
    """A click type for the seconds that a part of a command may take; 0: it is left out."""
    with suppress(ValueError):
        if float(text) == 0:
            return 0.0
    return budget_s(text)


def span_ms(text: str) -> float:
    """A click type for milliseconds that are shown."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found <= SPAN_MS_MAX:
        raise click.BadParameter(f"{text} is not a number of milliseconds from 0 to {SPAN_MS_MAX:,}")
    return found


SPAN_MS_MAX = 3_600_000


def given(name: str) -> bool:
    """Whether the command line gives this parameter of the running command."""
    source = click.get_current_context().get_parameter_source(name)
    return source is not None and source is not click.core.ParameterSource.DEFAULT


def pairs(flag: str, texts: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE texts as a dict; a value that is a JSON list, object, boolean or null is decoded, others stay strings. Of a key
    that is given twice the last one counts, as of any other option: so a script's default can be overridden."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{flag} {text!r}: write it as NAME=VALUE")
        found[name.strip()] = decoded(value.strip())
    return found


def counts(flag: str, texts: Iterable[str]) -> dict[str, int]:
    """NAME=NUMBER texts as a dict of whole numbers from 0 up."""
    found: dict[str, int] = {}
    for name, value in pairs(flag, texts).items():
        if not (isinstance(value, str) and value.isdecimal()):
            raise UsageError(f"{flag} {name}={value}: it must be a whole number, 0 or more")
        found[name] = int(value)
    return found


def decoded(value: str) -> Any:
    """JSON where it is JSON of another type than a number or string; numbers stay text for the option's own type."""
    if value in ("true", "false", "null") or value[:1] in ("[", "{"):
        try:
            return decode_json(msgspec.json.decode, os.fsencode(value), FILE_DEPTH_MAX)
        except msgspec.DecodeError:
            return value
    return value


def of_docker(env: str, leave_running: bool) -> dict[str, Any]:
    """The flags of environment docker, as its options."""
    if leave_running and env != "docker":
        raise UsageError(f"--leave-running is for --env docker: in {env} the nodes end with the run")
    return {"leave_running": True} if leave_running else {}


def of_ssh(
    env: str,
    username: str | None,
    private_key: str | None,
    port: int | None,
    accept_new: bool,
    allow_system_clock: bool,
) -> dict[str, Any]:
    """The flags of environment ssh, as its options; a flag that was not given is left out.

    Raises UsageError when such a flag was given for another environment.
    """
    given = {
        "username": ("--username", username),
        "private_key": ("--ssh-private-key", private_key),
        "port": ("--ssh-port", port),
        "accept_new": ("--ssh-accept-new", accept_new or None),
        "allow_system_clock": ("--allow-system-clock", allow_system_clock or None),
    }
    found = {name: value for name, (_, value) in given.items() if value is not None}
    if found and env != "ssh":
        flag = given[next(iter(found))][0]
        raise UsageError(f"{flag} is for --env ssh, and this run is in {env}: leave it out, or add --env ssh")
    return found


def fresh_seed() -> int:
    """A seed for a run that was not given one; it is printed and stored, so the run can be repeated."""
    return secrets.randbelow(2**31)


def echo(text: str, *, err: bool = False) -> None:
    """Print text with what somebody else wrote in it: nothing of it acts on the terminal. Its parts are short already."""
    click.echo(harmless(text), err=err)


def echo_json(value: Any) -> None:
    """Print `value` as one indented JSON document."""
    click.echo(json_text(value))
