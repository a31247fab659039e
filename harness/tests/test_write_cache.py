"""The file system that loses what was not synced: an image of it by itself, and mounted, against a model of what must survive."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import mmap
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from harness.environments.real import cache_mounts
from harness.environments.write_cache import protocol
from harness.environments.write_cache.image import KEEP_SIZE as KEEP
from harness.environments.write_cache.image import PUNCH_HOLE, RENAME_EXCHANGE, Directory, File, Image, Inode

KINDS = (
    *("create", "create", "mkdir", "write", "write", "write", "truncate", "rename"),
    *("link", "unlink", "rmdir", "sync", "sync", "syncdir"),
)
Tree = dict[str, bytes | None]
"""Path -> contents; None for a directory."""


class Bare:
    """An image without a kernel, by the paths of its files."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.image = Image(os.open(directory, os.O_RDONLY))

    def _found(self, path: str) -> Inode:
        inode: Inode = self.image.root
        for name in filter(None, path.split("/")):
            assert isinstance(inode, Directory)
            inode = self.image.look_up(inode, name.encode())
        return inode

    def _parent(self, path: str) -> tuple[Directory, bytes]:
        above, _, name = path.rpartition("/")
        parent = self._found(above)
        assert isinstance(parent, Directory)
        return parent, name.encode()

    def file(self, path: str) -> File:
        found = self._found(path)
        assert isinstance(found, File)
        return found

    def create(self, path: str) -> None:
        self.image.create(*self._parent(path), stat.S_IFREG | 0o644, 0, 0)

    def mkdir(self, path: str) -> None:
        self.image.create(*self._parent(path), stat.S_IFDIR | 0o755, 0, 0)

    def write(self, path: str, offset: int, data: bytes) -> None:
        self.image.write(self.file(path), offset, data)

    def truncate(self, path: str, size: int) -> None:
        self.image.truncate(self.file(path), size)

    def rename(self, old: str, new: str) -> None:
        self.image.rename(*self._parent(old), *self._parent(new))

    def link(self, old: str, new: str) -> None:
        self.image.link(self.file(old), *self._parent(new))

    def unlink(self, path: str) -> None:
        self.image.unlink(*self._parent(path))

    def rmdir(self, path: str) -> None:
        self.image.rmdir(*self._parent(path))

    def sync(self, path: str) -> None:
        self.image.sync(self._found(path))

    def lose(self, torn_by: str | None = None) -> dict[str, Any]:
        return self.image.lose(None if torn_by is None else Random(torn_by))

    def tree(self) -> Tree:
        found: Tree = {}

        def walk(directory: Directory, path: str) -> None:
            for name, inode in directory.names.items():
                here = f"{path}{name.decode()}"
                found[here] = self.image.read(inode, 0, 1 << 20) if isinstance(inode, File) else None
                if isinstance(inode, Directory):
                    walk(inode, f"{here}/")

        walk(self.image.root, "")
        return found


class Mounted:
    """The file system at a place, by the calls that programs make."""

    def __init__(self, place: Path) -> None:
        place.mkdir(exist_ok=True)
        self.place = place
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.environments.write_cache", str(place), "themis-test"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert json.loads(self._line()) == {"ok": None}

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def command(self, **command: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self._line())["ok"]

    def end(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait(20) == 0

    @contextlib.contextmanager
    def opened(self, path: str, flags: int = os.O_RDWR) -> Iterator[int]:
        file = os.open(self.place / path, flags, 0o644)
        try:
            yield file
        finally:
            os.close(file)

    def create(self, path: str) -> None:
        with self.opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL):
            pass

    def mkdir(self, path: str) -> None:
        os.mkdir(self.place / path)

    def write(self, path: str, offset: int, data: bytes) -> None:
        with self.opened(path) as file:
            assert os.pwrite(file, data, offset) == len(data)

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self.place / path, size)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.place / old, self.place / new)

    def link(self, old: str, new: str) -> None:
        os.link(self.place / old, self.place / new)

    def unlink(self, path: str) -> None:
        os.unlink(self.place / path)

    def rmdir(self, path: str) -> None:
        os.rmdir(self.place / path)

    def sync(self, path: str) -> None:
        with self.opened(path, os.O_RDONLY) as file:
            os.fsync(file)

    def lose(self, torn_by: str | None = None) -> dict[str, Any]:
        report: dict[str, Any] = self.command(do="lose", torn_by=torn_by)
        return report

    def tree(self) -> Tree:
        return {
            str(path.relative_to(self.place)): None if path.is_dir() else path.read_bytes()
            for path in self.place.rglob("*")
        }


class Model:
    """What must be seen and what must survive, said naively: all changes of names since the beginning, each with whether it is
    durable, and whole contents. A directory is replayed from the start each time it is asked for."""

    def __init__(self) -> None:
        self.steps: list[tuple[list[tuple[int, str, int | None]], set[int], bool]] = []
        """(directory, name, inode or None) of each change; the inodes that it names; whether it made one."""
        self.is_durable: list[bool] = []
        self.seen: dict[int, bytes | None] = {0: None}
        self.safe: dict[int, bytes | None] = {0: None}

    def names(self, only_durable: bool) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {inode: {} for inode, data in self.seen.items() if data is None}
        for (edits, _, _), is_durable in zip(self.steps, self.is_durable, strict=True):
            for directory, name, inode in edits if is_durable or not only_durable else []:
                found[directory].pop(name, None)
                if inode is not None:
                    found[directory][name] = inode
        return found

    def at(self, path: str) -> int:
        names, inode = self.names(only_durable=False), 0
        for name in filter(None, path.split("/")):
            inode = names[inode][name]
        return inode

    def place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.at(above), name

    def change(self, *edits: tuple[int, str, int | None], made: bool = False) -> None:
        self.steps.append((list(edits), {inode for _, _, inode in edits if inode is not None}, made))
        self.is_durable.append(False)

    def make(self, path: str, data: bytes | None) -> None:
        inode = len(self.seen)
        self.change((*self.place(path), inode), made=True)
        self.seen[inode] = data
        self.safe[inode] = data

    def write(self, path: str, offset: int, data: bytes) -> None:
        old = self.seen[self.at(path)] or b""
        old = old.ljust(offset, b"\0")
        self.seen[self.at(path)] = old[:offset] + data + old[offset + len(data) :]

    def truncate(self, path: str, size: int) -> None:
        old = self.seen[self.at(path)] or b""
        self.seen[self.at(path)] = old[:size].ljust(size, b"\0")

    def sync(self, path: str) -> None:
        inode = self.at(path)
        self.safe[inode] = self.seen[inode]
        wanted = {
            number
            for number, (edits, named, _) in enumerate(self.steps)
            if inode in named or inode in {directory for directory, _, _ in edits}
        }
        wanted = {number for number in wanted if not self.is_durable[number]}
        while True:  # Until nothing more is needed: earlier changes of the same name, and the making of each directory.
            more = set(wanted)
            for number in wanted:
                for directory, name, _ in self.steps[number][0]:
                    for earlier in range(number):
                        edits, named, made = self.steps[earlier]
                        if (directory, name) in {(d, n) for d, n, _ in edits} or (made and directory in named):
                            more.add(earlier)
            if more == wanted:
                break
            wanted = more
        for number in wanted:
            self.is_durable[number] = True

    def lose(self) -> None:
        self.steps = [step for step, is_durable in zip(self.steps, self.is_durable, strict=True) if is_durable]
        self.is_durable = [True] * len(self.steps)
        self.seen = dict(self.safe)

    def tree(self) -> Tree:
        names, found = self.names(only_durable=False), Tree()

        def walk(directory: int, path: str) -> None:
            for name, inode in names[directory].items():
                found[f"{path}{name}"] = self.seen[inode]
                if self.seen[inode] is None:
                    walk(inode, f"{path}{name}/")

        walk(0, "")
        return found


def one_operation(rng: Random, disk: Bare | Mounted, model: Model) -> None:
    """Do one random operation on both. One that cannot be done is done on neither."""
    tree = model.tree()
    files = sorted(path for path, data in tree.items() if data is not None)
    folders = ["", *sorted(path for path, data in tree.items() if data is None)]
    fresh = f"{rng.choice(folders)}/{rng.choice('abcdefg')}".lstrip("/")
    kind = rng.choice(KINDS)
    if kind == "create" and fresh not in tree:
        disk.create(fresh)
        model.make(fresh, b"")
    elif kind == "mkdir" and fresh not in tree and fresh.count("/") < 2:
        disk.mkdir(fresh)
        model.make(fresh, None)
    elif kind == "write" and files:
        path, data = rng.choice(files), rng.randbytes(rng.choice((1, 30, 5000)))
        offset = rng.choice((0, len(tree[path] or b""), rng.randrange(9000)))
        disk.write(path, offset, data)
        model.write(path, offset, data)
    elif kind == "truncate" and files:
        path, size = rng.choice(files), rng.choice((0, rng.randrange(9000)))
        disk.truncate(path, size)
        model.truncate(path, size)
    elif kind == "rename" and files and tree.get(fresh, b"") is not None:
        old = rng.choice(files)
        if model.at(old) != (model.at(fresh) if fresh in tree else -1):
            disk.rename(old, fresh)
            model.change((*model.place(old), None), (*model.place(fresh), model.at(old)))
    elif kind == "link" and files and fresh not in tree:
        old = rng.choice(files)
        disk.link(old, fresh)
        model.change((*model.place(fresh), model.at(old)))
    elif kind == "unlink" and files:
        path = rng.choice(files)
        disk.unlink(path)
        model.change((*model.place(path), None))
    elif kind == "rmdir" and len(folders) > 1:
        path = rng.choice(folders[1:])
        if not any(other.startswith(f"{path}/") for other in tree):
            disk.rmdir(path)
            model.change((*model.place(path), None))
    elif kind == "sync" and files:
        path = rng.choice(files)
        disk.sync(path)
        model.sync(path)
    elif kind == "syncdir":
        path = rng.choice(folders)
        disk.sync(path)
        model.sync(path)


def compare(disk: Bare | Mounted, seed: int, losses: int) -> None:
    """Random operations with losses of power among them: what is seen equals the model after each of them."""
    rng, model = Random(f"write-cache/{seed}"), Model()
    for _ in range(losses):
        for _ in range(rng.randrange(1, 40)):
            one_operation(rng, disk, model)
        assert disk.tree() == model.tree(), f"seed {seed}: before the loss"
        disk.lose()
        model.lose()
        assert disk.tree() == model.tree(), f"seed {seed}: after the loss"


@pytest.mark.parametrize("seed", range(25))
def test_exactly_what_was_synced_survives(seed: int, tmp_path: Path) -> None:
    compare(Bare(tmp_path / "store"), seed, losses=5)


@pytest.mark.soak
def test_exactly_what_was_synced_survives_many_times(tmp_path: Path) -> None:
    for seed in range(100, 1100):
        compare(Bare(tmp_path / str(seed)), seed, losses=8)


def test_a_new_file_is_durable_by_its_own_sync_and_its_length_with_it(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.mkdir("d")
    disk.create("d/a")
    disk.create("d/b")
    disk.write("d/a", 0, b"xyz")
    disk.sync("d/a")
    disk.write("d/a", 3, b"!")
    report = disk.lose()
    assert disk.tree() == {"d": None, "d/a": b"xyz"}
    assert (report["bytes_lost"], report["writes_lost"], report["names_lost"]) == (1, 1, 1)
    assert report["files"] == ["d/a"]
    assert report["names"] == ["create b"]


def test_a_rename_without_a_sync_of_its_directory_is_lost_with_the_old_contents_kept(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    for name, data in (("log", b"old"), ("log.new", b"new")):
        disk.create(name)
        disk.write(name, 0, data)
        disk.sync(name)
    disk.rename("log.new", "log")
    assert disk.tree() == {"log": b"new"}
    disk.lose()
    assert disk.tree() == {"log": b"old", "log.new": b"new"}
    disk.rename("log.new", "log")
    disk.sync("")
    disk.lose()
    assert disk.tree() == {"log": b"new"}


def test_a_file_renamed_before_its_first_sync_is_durable_under_the_name_it_has(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.create("tmp")
    disk.rename("tmp", "final")
    disk.sync("final")
    disk.lose()
    assert disk.tree() == {"final": b""}


def test_a_synced_directory_holds_files_whose_contents_were_not_synced_empty(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.create("a")
    disk.write("a", 0, b"lost")
    disk.sync("")
    disk.lose()
    assert disk.tree() == {"a": b""}


def test_a_loss_that_loses_nothing_says_so(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.create("a")
    disk.sync("a")
    report = disk.lose()
    assert report == {"bytes_lost": 0, "writes_lost": 0, "names_lost": 0, "files": [], "names": []}


def test_an_exchange_is_durable_as_a_whole(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    for name in "ab":
        disk.create(name)
        disk.write(name, 0, name.encode())
        disk.sync(name)
    image = disk.image
    image.rename(image.root, b"a", image.root, b"b", RENAME_EXCHANGE)
    assert disk.tree() == {"a": b"b", "b": b"a"}
    disk.lose()
    assert disk.tree() == {"a": b"a", "b": b"b"}
    image.rename(image.root, b"a", image.root, b"b", RENAME_EXCHANGE)
    disk.sync("a")
    disk.lose()
    assert disk.tree() == {"a": b"b", "b": b"a"}


def test_a_torn_write_leaves_a_prefix_of_what_was_not_synced(tmp_path: Path) -> None:
    """Whole writes in their order, and then a part of the next one that ends at a sector; every such prefix can happen."""
    seen: set[bytes] = set()
    head, first, second = b"s" * 100, b"1" * 700, b"2" * 2000
    sectors = {512, 1024, 1536, 2048, 2560}
    for seed in range(60):
        disk = Bare(tmp_path / str(seed))
        disk.create("log")
        disk.write("log", 0, head)
        disk.sync("log")
        disk.write("log", 100, first)
        disk.write("log", 800, second)
        report = disk.lose(torn_by=str(seed))
        data = disk.tree()["log"]
        assert data is not None
        assert (head + first + second).startswith(data)
        assert data.startswith(head)
        assert len(data) in {100, 800, 2800} | sectors
        assert report["bytes_lost"] == 2800 - len(data)
        assert report["torn"][0]["bytes"] == len(data) - 100
        seen.add(data)
        assert disk.lose()["bytes_lost"] == 0, "what survived is durable"
    assert {len(data) for data in seen} > {100, 800, 512, 2048}


def test_contents_that_no_name_leads_to_take_no_room(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.create("a")
    disk.sync("a")
    disk.unlink("a")
    assert len(os.listdir(tmp_path / "store")) == 1, "a loss of power brings it back"
    disk.sync("")
    assert os.listdir(tmp_path / "store") == []
    disk.create("b")
    disk.lose()
    assert os.listdir(tmp_path / "store") == []
    assert list(disk.image.by_number) == [1]


def test_punched_holes_are_undone(tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.create("a")
    disk.write("a", 0, b"x" * 10_000)
    disk.sync("a")
    disk.image.allocate(disk.file("a"), KEEP | PUNCH_HOLE, 1000, 5000)
    assert (disk.tree()["a"] or b"").count(b"x") == 5000
    disk.lose()
    assert disk.tree()["a"] == b"x" * 10_000
    disk.image.allocate(disk.file("a"), 0, 0, 20_000)
    assert disk.file("a").size == 20_000
    disk.lose()
    assert disk.tree()["a"] == b"x" * 10_000


@pytest.mark.parametrize(
    "number", [errno.EEXIST, errno.ENOENT, errno.EISDIR, errno.ENOTEMPTY, errno.ENOTDIR, errno.EPERM]
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(number: int, tmp_path: Path) -> None:
    disk = Bare(tmp_path / "store")
    disk.mkdir("d")
    disk.create("d/a")
    image = disk.image
    does: dict[int, Callable[[], object]] = {
        errno.EEXIST: lambda: disk.create("d/a"),
        errno.ENOENT: lambda: disk.rename("x", "y"),
        errno.EISDIR: lambda: disk.unlink("d"),
        errno.ENOTEMPTY: lambda: disk.rmdir("d"),
        errno.ENOTDIR: lambda: disk.rmdir("d/a"),
        errno.EPERM: lambda: image.create(image.root, b"pipe", stat.S_IFIFO, 0, 0),
    }
    before = len(image.changes)
    with pytest.raises(OSError) as caught:
        does[number]()
    assert caught.value.errno == number
    assert len(image.changes) == before


# --- mounted ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Mounted]:
    disk = Mounted(tmp_path / "data")
    yield disk
    disk.end()
    assert not os.path.ismount(disk.place)


@pytest.mark.linux
def test_mounted_exactly_what_was_synced_survives(mounted: Mounted) -> None:
    compare(mounted, 7, losses=12)


@pytest.mark.linux
def test_programs_see_an_ordinary_file_system(mounted: Mounted) -> None:
    """Appending, truncating at opening, O_DSYNC, symbolic links, locks, listings, large files, a full view after the end."""
    place = mounted.place
    with mounted.opened("a", os.O_WRONLY | os.O_CREAT | os.O_APPEND) as file:
        for word in (b"one ", b"two"):
            os.write(file, word)
        fcntl.flock(file, fcntl.LOCK_EX)
        with mounted.opened("a") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (place / "a").read_bytes() == b"one two"
    with mounted.opened("a", os.O_WRONLY | os.O_TRUNC) as file:
        assert os.fstat(file).st_size == 0
    with mounted.opened("direct", os.O_WRONLY | os.O_CREAT | os.O_DSYNC) as file:
        os.write(file, b"durable at once")
    (place / "link").symlink_to("direct")
    assert (place / "link").read_text() == "durable at once"
    for number in range(300):
        mounted.create(f"many-{number:03}")
    assert len(os.listdir(place)) == 303
    big = bytes(range(256)) * 8192
    (place / "big").write_bytes(big)
    assert (place / "big").read_bytes() == big
    with pytest.raises(OSError, match="xists"):
        mounted.mkdir("big")
    os.chmod(place / "big", 0o600)
    assert stat.S_IMODE(os.stat(place / "big").st_mode) == 0o600
    assert os.statvfs(place).f_blocks > 0
    report = mounted.lose()
    assert mounted.tree() == {"direct": b"durable at once"}
    assert report["bytes_lost"] >= len(big)
    assert report["names_lost"] == 303


@pytest.mark.linux
def test_a_mapping_is_durable_by_its_sync_and_kept_in_order_without(mounted: Mounted) -> None:
    """What bbolt does: pages are read through a mapping that was made before, and written by pwrite and fdatasync."""
    with mounted.opened("db", os.O_RDWR | os.O_CREAT) as file:
        os.ftruncate(file, 8192)
        os.fsync(file)
        with mmap.mmap(file, 8192, prot=mmap.PROT_READ) as pages:
            os.pwrite(file, b"page one", 4096)
            assert pages[4096:4104] == b"page one"
            os.fdatasync(file)
        with mmap.mmap(file, 8192) as pages:
            pages[:5] = b"mapped"[:5]
            pages.flush()
            pages[:5] = b"never"
    assert mounted.lose()["bytes_lost"] > 0
    data = (mounted.place / "db").read_bytes()
    assert data[:5] == b"mappe"
    assert data[4096:4104] == b"page one"


@pytest.mark.linux
def test_what_was_open_at_the_loss_is_stale_and_a_new_look_sees_what_survived(mounted: Mounted) -> None:
    with mounted.opened("a", os.O_RDWR | os.O_CREAT) as file:
        os.write(file, b"kept")
        os.fsync(file)
        os.write(file, b" lost")
        assert os.pread(file, 20, 0) == b"kept lost"
        mounted.lose()
        with pytest.raises(OSError, match=r"[Ss]tale"):
            os.write(file, b"too late")
        assert (mounted.place / "a").read_bytes() == b"kept"


@pytest.mark.linux
def test_an_unlinked_file_lives_until_it_is_closed(mounted: Mounted) -> None:
    with mounted.opened("a", os.O_RDWR | os.O_CREAT) as file:
        os.unlink(mounted.place / "a")
        os.write(file, b"still there")
        assert os.pread(file, 20, 0) == b"still there"


@pytest.mark.linux
def test_the_process_dies_between_a_write_and_its_sync(mounted: Mounted) -> None:
    code = (
        "import os,sys; f=os.open(sys.argv[1], os.O_RDWR|os.O_CREAT); os.write(f,b'first'); os.fsync(f)\n"
        "sys.stdout.write('ready\\n'); sys.stdout.flush(); sys.stdin.readline()\n"
        "os.write(f,b'second'); os.fdatasync(f); sys.stdout.write('synced')"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(mounted.place / "wal")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    mounted.command(do="kill_at_sync", group=child.pid)
    out, _ = child.communicate(b"go\n", 20)
    assert child.returncode == -9
    assert out == b""
    assert (mounted.place / "wal").read_bytes() == b"firstsecond"
    report = mounted.lose()
    assert report["killed_before_sync_of"] == "wal"
    assert report["bytes_lost"] == 6
    assert (mounted.place / "wal").read_bytes() == b"first"


@pytest.mark.linux
def test_a_process_that_ended_before_its_sync_is_not_replaced_by_the_next_one(mounted: Mounted) -> None:
    """A loss of power may break off half-way: then the node is started again, and its disk is sound."""
    gone = subprocess.Popen(["true"], start_new_session=True)
    gone.wait()
    mounted.command(do="kill_at_sync", group=gone.pid)
    mounted.create("wal")
    with mounted.opened("wal") as file:
        os.write(file, b"first")
        os.fsync(file)
    assert mounted.command(do="state")["killed_at"] == ""
    assert mounted.lose().get("killed_before_sync_of") is None
    assert (mounted.place / "wal").read_bytes() == b"first"


@pytest.mark.linux
def test_after_its_end_the_directory_is_an_ordinary_one(tmp_path: Path) -> None:
    disk = Mounted(tmp_path / "data")
    disk.mkdir("d")
    disk.create("d/a")
    disk.write("d/a", 0, b"unsynced")
    disk.link("d/a", "b")
    seen = disk.tree()
    disk.end()
    disk_after = {str(p.relative_to(disk.place)): None if p.is_dir() else p.read_bytes() for p in disk.place.rglob("*")}
    assert disk_after == seen
    assert (disk.place / "b").stat().st_nlink == 2
    again = subprocess.run(
        [sys.executable, "-m", "harness.environments.write_cache", str(disk.place), "themis-test"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert again.returncode == 1
    assert b"is not empty" in again.stdout


@pytest.mark.linux
@pytest.mark.parametrize("is_server_killed", [False, True])
def test_after_a_kill_of_the_controller_nothing_stays_mounted(is_server_killed: bool, tmp_path: Path) -> None:
    """The process that serves a mount unmounts it when its parent is gone; were it killed too, `cleanup` would."""
    places = [tmp_path / name for name in ("one", "two words")]
    code = (
        "import os, sys, time\n"
        "from harness.environments.real import cache_mounts\n"
        "from harness.environments.real.agent import WriteCaches\n"
        "caches = WriteCaches()\n"
        "for place in sys.argv[1:]:\n"
        "    argv = [sys.executable, '-m', cache_mounts.MODULE, place, cache_mounts.source('test-run')]\n"
        "    caches.do_cache(place, argv, {}, [])\n"
        "    print(caches._caches[place].pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    controller = subprocess.Popen([sys.executable, "-c", code, *map(str, places)], stdout=subprocess.PIPE)
    assert controller.stdout is not None
    servers = [int(controller.stdout.readline()) for _ in places]
    mine = {str(place) for place in places}
    assert {mount.place for mount in cache_mounts.mounted()} >= mine
    assert not mine & {mount.place for mount in cache_mounts.find_leftovers()}, "its controller lives"
    for pid in servers if is_server_killed else []:
        os.kill(pid, 9)
    controller.kill()
    controller.wait()
    controller.stdout.close()
    if is_server_killed:
        left = [mount for mount in cache_mounts.find_leftovers() if mount.place in mine]
        assert {mount.place for mount in left} == mine
        assert "of run test-run" in left[0].description
        assert [mount.remove() for mount in left] == [None, None]
    deadline_s = time.monotonic() + 30
    while mine & {mount.place for mount in cache_mounts.mounted()}:
        assert time.monotonic() < deadline_s, "it is still mounted"
        time.sleep(0.02)


@pytest.mark.linux
def test_it_is_mounted_without_root_where_fuse3_is(tmp_path: Path) -> None:
    """As `nobody`, by fusermount3."""
    place = Path("/tmp") / f"themis-nobody-{os.getpid()}"
    place.mkdir()
    os.chown(place, 65534, 65534)
    code = (
        "import os,sys\n"
        "from harness.environments.write_cache.__main__ import main\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main([sys.argv[1], 'themis-test']))"
    )
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert json.loads(child.stdout.readline()) == {"ok": None}
        assert os.path.ismount(place) or not os.access(place, os.R_OK)
        child.stdin.close()
        child.stdout.read()
        assert child.wait(20) == 0
        assert list(place.iterdir()) == []
    finally:
        with contextlib.suppress(OSError):
            protocol.unmount(str(place), protocol.DETACH)
        place.rmdir()
