"""Reads a YAML file as plain data, and knows in which line each value stands, so that an error can name it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import yaml

from harness.errors import UsageError, unknown_name
from histories.json_text import FILE_DEPTH_MAX
from histories.printing import line as printed
from histories.whole_file import read_whole

VALUES_MAX = 100_000
"""Of one file; a few aliases of aliases would be millions."""

Place = tuple[str | int, ...]
"""Where a value stands: keys and positions from the top."""

Struct = TypeVar("Struct", bound=msgspec.Struct)


class YamlFile:
    """The content of a YAML file. value: as plain data."""

    def __init__(self, path: Path) -> None:
        """Raises UsageError when the file cannot be read, or is no YAML, with line and column."""
        self.path = path
        self._lines: dict[Place, tuple[int, int]] = {}
        self._loader: yaml.SafeLoader
        try:
            self._loader = yaml.SafeLoader(read_whole(path).decode())
            node = self._loader.get_single_node()
            self.value: Any = None if node is None else self._plain(node, ())
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: byte {error.start} is not UTF-8") from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            where = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
            raise UsageError(f"{path}{where}: {printed(error.problem or error.context or 'no YAML')}") from error
        except yaml.YAMLError as error:
            raise UsageError(f"{path}: no YAML: {printed(error)}") from error
        except (RecursionError, ValueError) as error:
            raise UsageError(f"{path}: {printed(error)}") from error

    def _plain(self, node: yaml.Node, place: Place) -> Any:
        self._lines[place] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if len(place) > FILE_DEPTH_MAX:
            self.refuse(place[:1], f"nested more than {FILE_DEPTH_MAX} deep")
        if len(self._lines) > VALUES_MAX:
            self.refuse((), f"more than {VALUES_MAX} values")
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = self._loader.construct_object(key_node)
                if not isinstance(key, str):
                    self._lines[place] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                    self.refuse(place, f"the key {key!r} is no word")
                if key in found:
                    self._lines[place] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
                    self.refuse(place, f"{key} stands here twice")
                found[key] = self._plain(value_node, (*place, key))
                self._lines[*place, key] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(each, (*place, number)) for number, each in enumerate(node.value)]
        value = self._loader.construct_object(node)
        # A date is the one plain type of YAML that JSON has not.
        return value if isinstance(value, str | int | float | bool | None) else str(node.value)

    def refuse(self, place: Place, why: str) -> NoReturn:
        """Raises UsageError with the line and column of the value at `place`."""
        while place and place not in self._lines:
            place = place[:-1]
        line, column = self._lines.get(place, (1, 1))
        one_line = "; ".join(part.strip() for part in why.split("\n"))
        raise UsageError(f"{self.path} line {line}, column {column}: {printed(one_line)}")

    def check_keys(self, place: Place, known: Iterable[str]) -> None:
        """Raises UsageError for a key at `place` that is not `known`, with the nearest one."""
        value = self.at(place)
        if not isinstance(value, dict):
            self.refuse(place, f"keys with values are due here, such as {next(iter(known))}: ...")
        for key in value:
            if key not in known:
                self.refuse((*place, key), str(unknown_name("key", key, known)))

    def at(self, place: Place) -> Any:
        """The value at `place`, which is there."""
        value = self.value
        for step in place:
            value = value[step]
        return value

    def convert(self, type_: type[Struct]) -> Struct:
        """The content as `type_`. Raises UsageError with the line of the first value that does not fit."""
        if self.value is None:
            self.refuse((), "the file is empty")
        self.check_keys((), [field.encode_name for field in msgspec.structs.fields(type_)])
        try:
            return msgspec.convert(self.value, type_)
        except msgspec.ValidationError as error:
            words, _, path = str(error).partition(" - at `$")
            self.refuse(place_of(path.rstrip("`")), words)


def place_of(path: str) -> Place:
    """The place that msgspec writes as `.matrix[...].nodes[0]`; what it does not name is left out."""
    place: list[str | int] = []
    for step in path.replace("[", ".[").split("."):
        if step.startswith("["):
            if not step[1:-1].isdigit():
                break
            place.append(int(step[1:-1]))
        elif step:
            place.append(step)
    return tuple(place)
