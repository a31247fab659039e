"""A mutant of a core: one text of one file is replaced when the file is imported, in a process of its own."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[3]


class CoreMutant(NamedTuple):
    """One mistake. name: unique within its target. file: from the root of the project. text: stands there exactly once. instead:
    what the mistake makes of it. why: the rule that it breaks. harmless: why nothing wrong can follow; "" where something can."""

    target: str
    name: str
    file: str
    text: str
    instead: str
    why: str
    harmless: str = ""

    @property
    def id(self) -> str:
        return f"{self.target}:{self.name}"


class Stale(Exception):
    """A mutant's text is no longer in its file exactly once: the table has to follow the code."""


def mutated(mutant: CoreMutant) -> str:
    """The source of its file with the mistake in it. Raises Stale."""
    source = (ROOT / mutant.file).read_text()
    if source.count(mutant.text) != 1:
        raise Stale(f"{mutant.id}: its text stands {source.count(mutant.text)} times in {mutant.file}, not once")
    return source.replace(mutant.text, mutant.instead)


class _Loader(importlib.machinery.SourceFileLoader):
    """Gives the mutated text, and keeps no compiled file of it."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_data(self, path: str) -> bytes:
        return self._text.encode()

    def path_stats(self, path: str) -> dict[str, float]:
        raise OSError("no compiled file stands for a mutant")


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: CoreMutant) -> None:
        self._name = mutant.file.removesuffix(".py").replace("/", ".")
        self._path = str(ROOT / mutant.file)
        self._text = mutated(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self._path, loader=_Loader(fullname, self._path, self._text)
        )


def install(mutant: CoreMutant) -> None:
    """Whoever imports the mutant's module from now on, in this process, gets the mistake. Raises Stale; and AssertionError where
    the module is imported already."""
    finder = _Finder(mutant)
    assert finder._name not in sys.modules, f"{finder._name} is imported already"
    sys.meta_path.insert(0, finder)
