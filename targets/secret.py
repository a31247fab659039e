"""The run's secret: who shows it is the run's controller or one of its nodes, and no stranger on the machine or the network.

It comes by the environment, and never by a command line, which every user of a machine can read.
"""

from __future__ import annotations

import hmac
import os
import re
import stat
from collections.abc import Mapping, MutableMapping
from pathlib import Path

HEADER = "Themis-Secret"
VARIABLE = "THEMIS_SECRET"
FILE_VARIABLE = "THEMIS_SECRET_FILE"
"""The name of a file that holds it, for nodes that a person starts; nobody but its owner may read that file."""

FILE_BYTES_MAX = 4096
_RULE = re.compile(r"[!-~]{16,1024}")
_HOW = (
    f"`(umask 077; head -c 32 /dev/urandom | base64 > secret)` makes one, and {FILE_VARIABLE}=secret hands it to a node"
)


class BadSecret(ValueError):
    """There is no secret where there should be one, or it is a bad one; the message says what to do."""


def taken(environment: MutableMapping[str, str]) -> str | None:
    """The secret that the environment holds, or the file that it names, which is then no longer in it; None when there is none.

    **Raises** BadSecret.
    """
    given, file = environment.pop(VARIABLE, ""), environment.get(FILE_VARIABLE, "")
    if not given and not file:
        return None
    secret, origin = (given, VARIABLE) if given else (_read(Path(file)), f"{FILE_VARIABLE} {file}")
    if not _RULE.fullmatch(secret):
        raise BadSecret(f"{origin}: a secret has 16 to 1024 characters, without blanks; {_HOW}")
    return secret


def missing() -> BadSecret:
    """The error of a node that has peers and no secret."""
    return BadSecret(f"--peer: nodes take messages from each other only with a secret that all of them share; {_HOW}")


def is_shown(headers: Mapping[str, str], secret: str | None) -> bool:
    """Whether a request shows the secret. headers: by name in small letters. Takes as long whatever differs."""
    shown = headers.get(HEADER.lower(), "")
    return secret is not None and hmac.compare_digest(shown.encode("latin-1", "replace"), secret.encode())


def header(secret: str | None) -> str:
    """The line of a request's head that shows it; "" without one."""
    return "" if secret is None else f"{HEADER}: {secret}\r\n"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            text = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise BadSecret(f"{FILE_VARIABLE} {path}: {error.strerror or error}") from None
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadSecret(f"{FILE_VARIABLE} {path}: others may read it: chmod 600 {path}")
    return text.decode("ascii", "replace").strip()
