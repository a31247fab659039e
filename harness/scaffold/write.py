"""Writes the files of a new target. The templates are the files of one that works, for a toy server beside them."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path

from harness.errors import UsageError
from histories.printing import quoted

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}\Z")
SUFFIX = ".txt"
"""Of a template, so that it is neither imported nor tested where it lies."""


def new_target(name: str, folder: Path) -> list[Path]:
    """Write the package `<name>_target` into `folder`; return its files, sorted. Raises UsageError where the name cannot be that of
    a package, or the package is there already; then nothing is written."""
    if not NAME.match(name) or keyword.iskeyword(name):
        raise UsageError(
            f"{quoted(name)} cannot be the name of a target: write it in small letters, digits and '_', a letter first"
        )
    package = folder / f"{name}_target"
    if package.exists():
        raise UsageError(f"{package} is there already; choose another name, or --directory")
    words = "".join(part.capitalize() for part in name.split("_"))
    try:
        package.mkdir(parents=True)
        for template in (resources.files("harness.scaffold") / "templates").iterdir():
            if not template.name.endswith(SUFFIX):
                continue
            text = template.read_text().replace("@NAME@", name).replace("@CLASS@", words)
            (package / template.name.removesuffix(SUFFIX).replace("NAME", name)).write_text(text)
    except OSError as error:
        raise UsageError(f"{package} cannot be written: {error.strerror}") from error
    return sorted(package.iterdir())
