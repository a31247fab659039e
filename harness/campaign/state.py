"""The folder of a campaign: what it is, every run's outcome as soon as it is known, and what its findings were shrunk to.

After an interruption at any point, also by `kill -9`, what was done is there, and nothing of it is done again.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from harness.campaign.campaign_file import Campaign
from harness.campaign.outcome import Outcome
from harness.campaign.strategy import Lesson
from harness.errors import UsageError
from harness.spec import RunSpec
from harness.store.files import lines, regular, whole
from harness.store.modes import PRIVATE
from harness.store.runs import TIME_FORMAT, sync_directory, write_atomically, write_json
from histories.json_text import FILE_DEPTH_MAX, decoded
from histories.printing import line
from nemesis import schedule
from nemesis.schedule import Schedule

CAMPAIGNS = "campaigns"
"""The folder of campaigns below the store."""

VERSION = 1

Line = TypeVar("Line", bound=msgspec.Struct)


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The content of campaign.json."""

    version: int = VERSION
    campaign: Campaign


class Shrunk(msgspec.Struct, frozen=True, kw_only=True):
    """What the run of one seed was shrunk to. run: its folder. size: how large it is, in words."""

    cell: int
    seed: int
    run: str
    size: str


class _Learned(msgspec.Struct, frozen=True, kw_only=True):
    """A lesson as a line of a file. packed: the JSON of the lesson, by zlib: some 2 kB."""

    cell: int
    seed: int
    packed: bytes


class CampaignFolder:
    """One campaign's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    plan = property(lambda self: self.path / "campaign.json")
    results = property(lambda self: self.path / "results.jsonl")
    shrunk = property(lambda self: self.path / "shrunk.jsonl")
    lessons = property(lambda self: self.path / "lessons.jsonl")

    @classmethod
    def create(cls, store: Path, campaign: Campaign) -> CampaignFolder:
        """A new folder store/campaigns/<name>/<time>. Raises UsageError when it cannot be written."""
        now = datetime.datetime.now(datetime.UTC)
        path = store / CAMPAIGNS / campaign.name / f"{now.strftime(TIME_FORMAT)}.{now.microsecond // 1000:03d}Z"
        try:
            path.parent.mkdir(PRIVATE, parents=True, exist_ok=True)
            path.mkdir(PRIVATE)
            folder = cls(path)
            write_json(folder.plan, Saved(campaign=campaign))
            for directory in (path.parent, path.parent.parent, store):
                sync_directory(directory)
        except OSError as error:
            raise UsageError(
                f"the store {store} cannot be written: {error.strerror or error}; choose another with --store DIR"
            ) from error
        return folder

    @classmethod
    def find(cls, store: Path, text: str) -> CampaignFolder:
        """The campaign at the path `text`, or the newest of that name below the store, or the newest of all for `latest`. Raises
        UsageError when there is none."""
        pattern = "*/*" if text == "latest" else f"{text}/*"
        # Too long, no pattern, a path from the root, or no folder that can be read.
        with contextlib.suppress(ValueError, OSError, NotImplementedError):
            if (Path(text) / "campaign.json").is_file():
                return cls(Path(text))
            found = sorted((store / CAMPAIGNS).glob(f"{pattern}/campaign.json"), key=lambda path: path.parent.name)
            if found:
                return cls(found[-1].parent)
        raise UsageError(f"no campaign {text!r} in {store / CAMPAIGNS}; a campaign's folder or its name is due")

    def read(self) -> Campaign:
        """What the campaign is. Raises UsageError when campaign.json cannot be read."""
        try:
            saved = decoded(msgspec.json.Decoder(Saved).decode, whole(self.plan).read_bytes(), FILE_DEPTH_MAX)
        except OSError as error:
            raise UsageError(f"{self.plan}: {error.strerror or error}") from error
        except msgspec.DecodeError as error:
            raise UsageError(f"{self.plan}: {line(error)}") from error
        if saved.version != VERSION:
            raise UsageError(
                f"{self.plan}: of version {saved.version}, and this themis reads version {VERSION}: use the themis that wrote it"
            )
        try:
            RunSpec(name=saved.campaign.name)  # It is part of paths that are written.
        except ValueError as error:
            raise UsageError(f"{self.plan}: {error}") from error
        return saved.campaign

    def outcomes(self, campaign: Campaign | None = None) -> list[Outcome]:
        """Of every run that is done, in the order in which they ended, each once. campaign: without those of combinations that it
        has not, which a damaged line may name. Raises UsageError when the file cannot be read."""
        found = _lines(self.results, Outcome)
        cells = None if campaign is None else range(len(campaign.cells))
        by_run = {(outcome.cell, outcome.seed): outcome for outcome in found if cells is None or outcome.cell in cells}
        return list(by_run.values())

    def shrunk_runs(self) -> list[Shrunk]:
        """What was shrunk."""
        return list(_lines(self.shrunk, Shrunk))

    def add(self, outcome: Outcome) -> None:
        """Note how a run ended; it is on the disk when this returns."""
        _append(self.results, outcome)

    def add_lesson(self, cell: int, seed: int, lesson: Lesson) -> None:
        """Note what a run taught the strategy of its cell; it is on the disk when this returns."""
        _append(self.lessons, _Learned(cell=cell, seed=seed, packed=zlib.compress(msgspec.json.encode(lesson))))

    def learned(self) -> dict[tuple[int, int], bytes]:
        """(cell, seed) -> what its run taught, as `lesson` reads it."""
        return {(each.cell, each.seed): each.packed for each in _lines(self.lessons, _Learned)}

    def keep_schedule(self, cell: int, seed: int, faults: Schedule) -> Path:
        """The file of the faults of a failing run that its seed alone does not give."""
        directory = self.path / "schedules"
        directory.mkdir(PRIVATE, exist_ok=True)
        file = directory / f"{cell}-{seed}.json"
        write_atomically(file, schedule.encode(faults))
        return file

    def place_of(self, run: str) -> Path:
        """Where the run is that was kept at `run`: there, or, where the store was moved or copied, at the same name and time below
        the store of this campaign. It need not be there any more."""
        path = Path(run)
        # A campaign's folder that stands alone near the root has no store above it.
        for store in self.path.resolve().parents[2:3]:
            here = store / path.parent.name / path.name
            if (here / "spec.json").is_file():
                return here
        return path

    def add_shrunk(self, shrunk: Shrunk) -> None:
        """Note what a run was shrunk to; it is on the disk when this returns."""
        _append(self.shrunk, shrunk)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Inside, this process runs the campaign, and no other one does. Raises UsageError when another one does."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UsageError(f"{self.path}: another process runs this campaign") from None
        finally:
            os.close(descriptor)


def lesson(packed: bytes) -> Lesson | None:
    """What a run taught; None where it cannot be read."""
    try:
        return decoded(msgspec.json.Decoder(Lesson).decode, zlib.decompress(packed), FILE_DEPTH_MAX)
    except (zlib.error, msgspec.DecodeError):
        return None


def _append(path: Path, value: msgspec.Struct) -> None:
    is_new = not path.exists()
    with regular(path).open("a+b") as file:
        # A line that a kill cut off ends here, so that this one is whole.
        if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
            file.write(b"\n")
        file.write(msgspec.json.encode(value) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync_directory(path.parent)


def _lines(path: Path, type_: type[Line]) -> Iterator[Line]:
    """The lines of the file that can be read; one that a kill cut off is left out, so that its run is done again.

    Raises UsageError when the file cannot be read.
    """
    decoder = msgspec.json.Decoder(type_)
    try:
        with regular(path).open("rb") as file:
            for text in lines(file):
                with contextlib.suppress(msgspec.DecodeError):
                    yield decoded(decoder.decode, text, FILE_DEPTH_MAX)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
