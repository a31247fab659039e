"""Campaign files: which runs a campaign makes, written in YAML with the names of `themis test`'s flags."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness import notation
from harness.campaign.flags import FLAGS, spec_of_flags, text_of
from harness.campaign.strategy import StrategyName
from harness.campaign.yaml_file import Place, YamlFile
from harness.errors import UsageError
from harness.run import plan
from harness.run.sinks import MemorySink
from harness.run.stage import prepare_stage
from harness.spec import RunSpec

Value = TypeVar("Value")
CELLS_MAX = 10_000
"""Combinations of one campaign."""


class Requirements(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """What a campaign must reach, beside finding nothing.

    ok_share: of its client ops, at least so many succeed. unknown_share: at most so many of its runs are UNKNOWN, such as vacuous
    ones.
    """

    ok_share: float = 0.2
    unknown_share: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("ok-share", self.ok_share), ("unknown-share", self.unknown_share)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {value} is no share from 0 to 1")


class CampaignFile(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """The content of a campaign file.

    name: its folder below the store. budget: of wall time, as `30m`; "": until every seed is done. jobs: processes that simulate;
    0: one per processor. seeds: FIRST..LAST, of each combination. run: flags of every run. matrix: flag -> the values it takes,
    each with each. exclude: combinations that are left out: those with all of these values. include: further combinations. shrink:
    time for each finding of the simulation, as `60s`; "": none is shrunk. keep: runs that are kept of each finding. known: a file
    of known findings, beside this one. enough: a combination that failed so many times rests; 0: none ever does. strategy: how the
    next simulated run of a combination is chosen (harness.campaign.strategy). require: what else must hold.
    """

    name: str = "campaign"
    budget: str = ""
    jobs: int = 0
    seeds: str = "1..100"
    run: dict[str, Any] = {}
    matrix: dict[str, list[Any]] = {}
    exclude: list[dict[str, Any]] = []
    include: list[dict[str, Any]] = []
    shrink: str = "30s"
    keep: int = 3
    enough: int = 0
    known: str = ""
    strategy: StrategyName = "random"
    require: Requirements = Requirements()


class Cell(msgspec.Struct, frozen=True):
    """One combination of a campaign. title: what tells it from the others. spec: its runs, but for the seed."""

    title: str
    spec: RunSpec


class Campaign(msgspec.Struct, frozen=True):
    """A campaign, checked: everything in it can be run.

    seeds: first and last. budget_s, shrink_s: None for none. known: the file of known findings; None for none. enough: failures
    after which a cell rests; 0: it never does.
    """

    name: str
    cells: tuple[Cell, ...]
    seeds: tuple[int, int]
    jobs: int
    budget_s: float | None
    shrink_s: float | None
    keep: int
    known: str | None
    require: Requirements
    strategy: StrategyName = "random"
    enough: int = 0

    def tasks(self) -> Iterator[tuple[int, int]]:
        """(number of the cell, seed) of every run: each seed in every cell, then the next, so that no cell is starved."""
        first, last = self.seeds
        return ((cell, seed) for seed in range(first, last + 1) for cell in range(len(self.cells)))

    def rests(self, failures: int) -> bool:
        """Whether a cell that failed so often is run no more."""
        return 0 < self.enough <= failures

    @property
    def tasks_count(self) -> int:
        return len(self.cells) * (self.seeds[1] - self.seeds[0] + 1)


def read_campaign(path: Path) -> Campaign:
    """The campaign in the file. Raises UsageError with the line of what is wrong, before anything is run."""
    file = YamlFile(path)
    content = file.convert(CampaignFile)
    seeds = _value(file, "seeds", lambda: notation.seed_range(content.seeds))
    try:
        cells = tuple(_cells(file, content))
        RunSpec(name=content.name)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from error
    if not content.name:
        raise UsageError(f"{path}: name: an empty name is no folder name")
    if not cells:
        raise UsageError(f"{path}: no run is left: exclude takes every combination away")
    if min(content.keep, content.jobs, content.enough) < 0:
        raise UsageError(f"{path}: keep, jobs and enough are not negative")
    return Campaign(
        name=content.name,
        cells=cells,
        seeds=(seeds.start, seeds.stop - 1),
        jobs=content.jobs,
        budget_s=_value(file, "budget", lambda: notation.age_s("budget", content.budget)) if content.budget else None,
        shrink_s=_value(file, "shrink", lambda: notation.age_s("shrink", content.shrink)) if content.shrink else None,
        keep=content.keep,
        known=str((path.parent / content.known).absolute()) if content.known else None,
        require=content.require,
        strategy=content.strategy,
        enough=content.enough,
    )


def _value(file: YamlFile, key: str, read: Callable[[], Value]) -> Value:
    """What `read` makes of the value at `key`. Raises UsageError with the key's line where that is nothing."""
    try:
        return read()
    except UsageError as error:
        file.refuse((key,), str(error))


def _cells(file: YamlFile, content: CampaignFile) -> Iterator[Cell]:
    """Every combination that is left, then what is included; each can be run."""
    for part in ("run", "matrix"):
        if part in file.value:
            file.check_keys((part,), FLAGS)
    for kind in ("exclude", "include"):
        for number in range(len(getattr(content, kind))):
            file.check_keys((kind, number), FLAGS)
    for flag, values in content.matrix.items():
        if not values:
            file.refuse(("matrix", flag), f"{flag}: no value is given")
    count = 0
    names = list(content.matrix)
    for numbers in itertools.product(*(range(len(content.matrix[name])) for name in names)):
        chosen = {name: content.matrix[name][number] for name, number in zip(names, numbers, strict=True)}
        if not names and content.include:
            break  # Only what is included.
        if any(_fits(content.run | chosen, excluded) for excluded in content.exclude):
            continue
        count += 1
        place: Place = ("matrix", names[0], numbers[0]) if names else ("run",)
        yield _cell(file, place, content.run | chosen, chosen)
        if count > CELLS_MAX:
            file.refuse(("matrix",), f"more than {CELLS_MAX} combinations")
    for number, chosen in enumerate(content.include):
        yield _cell(file, ("include", number), content.run | chosen, chosen)


def _fits(flags: dict[str, Any], excluded: dict[str, Any]) -> bool:
    return all(flags.get(flag) == value for flag, value in excluded.items())


def _cell(file: YamlFile, place: Place, flags: dict[str, Any], chosen: dict[str, Any]) -> Cell:
    title = ", ".join(f"{flag} {text_of(value)}" for flag, value in chosen.items()) or "every run"
    try:
        spec = spec_of_flags(flags)
        prepare_stage(
            plan.prepare(spec), MemorySink("campaign")
        )  # Starts nothing; refuses faults that the environment lacks.
    except (UsageError, ValueError, msgspec.ValidationError) as error:
        file.refuse(place, f"{title}: {error}")
    return Cell(title, spec)
