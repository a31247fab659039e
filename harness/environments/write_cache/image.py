"""Two views of one directory tree: what programs see now, and what a loss of power would leave.

Contents are files of a store, one for each file of the tree; names are in memory. What a program writes is seen at once and becomes
durable by a sync and in no other way, however long it waits:

- a sync of a file makes its contents and its length durable, and the names it has been given since (by create, link or rename)
  with the directories that lead there, as ext4, XFS and Btrfs do;
- a sync of a directory makes durable what was created, linked, renamed or removed in it;
- a rename is durable as a whole or not at all, and so is each write that `lose` does not tear.

A name does not become durable without what came before it under the same name. Owner, mode and times are durable at once.

Standard library only, and no import of ours: nodes' machines are sent this package alone. Source of the idea: LazyFS (Ramos et al.,
"Toppling Top-Tier Databases with LazyFS", 2023).
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
import stat
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

BLOCK_BYTES = 4096
SECTOR_BYTES = 512
"""What a disk writes wholly or not at all: a torn write ends at a multiple of it."""
TEARABLE_BYTES_MAX = 1 << 20
"""So many bytes of a file's first unsynced writes are kept, for `lose` to tear."""
OPEN_FILES_MAX = 256
NAMES_SHOWN_MAX = 8
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
"""Modes of fallocate(2)."""
ROOT = 1
"""The number of the root directory, in every FUSE file system."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def refusal(number: int) -> OSError:
    """The error that a program sees as this errno."""
    return OSError(number, os.strerror(number))


class Inode:
    """A file, directory or symbolic link. number: by which the kernel knows it. links, durable_links: names it has now, and would
    have after a loss of power. pending: changes of names not yet durable that give it a name. opens: descriptors of it."""

    def __init__(self, number: int, mode: int, uid: int, gid: int) -> None:
        self.number = number
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.atime_ns = self.mtime_ns = self.ctime_ns = time.time_ns()
        self.links = self.durable_links = self.pending = self.opens = 0

    size = 0


class Directory(Inode):
    """names, durable: what stands in it now, and would after a loss of power."""

    def __init__(self, number: int, mode: int, uid: int, gid: int) -> None:
        super().__init__(number, stat.S_IFDIR | mode, uid, gid)
        self.names: dict[bytes, Inode] = {}
        self.durable: dict[bytes, Inode] = {}


class Link(Inode):
    """A symbolic link."""

    def __init__(self, number: int, uid: int, gid: int, target: bytes) -> None:
        super().__init__(number, stat.S_IFLNK | 0o777, uid, gid)
        self.target = target
        self.size = len(target)


class File(Inode):
    """key: its file in the store, which holds the contents of now.

    durable_size, before: length and blocks as the last sync left them; a block that has not changed since is not in `before`.
    writes: the first unsynced ones in order, as (offset, data) or (length, None) for a change of length.
    """

    def __init__(self, number: int, mode: int, uid: int, gid: int, key: str) -> None:
        super().__init__(number, mode, uid, gid)
        self.key = key
        self.durable_size = 0
        self.before: dict[int, bytes] = {}
        self.writes: list[tuple[int, bytes | None]] = []
        self.tearable_bytes = 0
        self.unsynced_writes = self.unsynced_bytes = 0
        self.last_name = b""

    @property
    def is_synced(self) -> bool:
        return not self.unsynced_writes


class Change:
    """A change of names that is not durable yet. edits: (directory, name, what it names from then on). given: what gets a name by
    it. is_birth: the change created what it names."""

    __slots__ = ("edits", "given", "is_birth", "what")

    def __init__(
        self, what: str, edits: list[tuple[Directory, bytes, Inode | None]], given: list[Inode], is_birth: bool = False
    ) -> None:
        self.what = what
        self.edits = edits
        self.given = given
        self.is_birth = is_birth


class Image:
    """The tree. Raises OSError with the errno that the program is to see. Not safe for threads.

    store: a descriptor of an empty directory, where the contents are kept.
    """

    def __init__(self, store: int, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        self._store = store
        self._count = ROOT
        self._keys = 0
        self._open: OrderedDict[str, int] = OrderedDict()
        self.root = Directory(ROOT, mode, uid, gid)
        self.root.links = self.root.durable_links = 2
        self.by_number: dict[int, Inode] = {ROOT: self.root}
        self.changes: list[Change] = []

    # --- names --------------------------------------------------------------------------------------------------------

    def look_up(self, directory: Directory, name: bytes) -> Inode:
        """What has this name. Raises OSError when nothing has."""
        found = directory.names.get(name)
        if found is None:
            raise refusal(errno.ENOENT)
        return found

    def create(self, directory: Directory, name: bytes, mode: int, uid: int, gid: int, target: bytes = b"") -> Inode:
        """A new file, directory or symbolic link, by the type in `mode`. target: what a symbolic link says."""
        self._vacant(directory, name)
        number = self._number()
        made: Inode
        if stat.S_ISDIR(mode):
            made = Directory(number, stat.S_IMODE(mode), uid, gid)
        elif stat.S_ISLNK(mode):
            made = Link(number, uid, gid, target)
        elif stat.S_ISREG(mode):
            self._keys += 1
            key = str(self._keys)
            os.close(os.open(key, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._store))
            made = File(number, mode, uid, gid, key)
        else:
            raise refusal(errno.EPERM)  # Sockets, pipes and devices are not kept on this disk.
        self.by_number[number] = made
        self._change("create", [(directory, name, made)], [made], is_birth=True)
        return made

    def link(self, inode: Inode, directory: Directory, name: bytes) -> None:
        """A second name for a file."""
        self._vacant(directory, name)
        self._change("link", [(directory, name, inode)], [inode])

    def unlink(self, directory: Directory, name: bytes) -> None:
        """The file or symbolic link has this name no more."""
        if isinstance(self.look_up(directory, name), Directory):
            raise refusal(errno.EISDIR)
        self._change("remove", [(directory, name, None)], [])

    def rmdir(self, directory: Directory, name: bytes) -> None:
        """The empty directory is gone."""
        found = self.look_up(directory, name)
        if not isinstance(found, Directory):
            raise refusal(errno.ENOTDIR)
        if found.names:
            raise refusal(errno.ENOTEMPTY)
        self._change("remove", [(directory, name, None)], [])

    def rename(self, source: Directory, name: bytes, to: Directory, new: bytes, flags: int = 0) -> None:
        """As renameat2(2), without RENAME_WHITEOUT."""
        moved, replaced = self.look_up(source, name), to.names.get(new)
        if flags & RENAME_EXCHANGE:
            if replaced is None:
                raise refusal(errno.ENOENT)
            self._change("exchange", [(source, name, replaced), (to, new, moved)], [moved, replaced])
            return
        if flags & ~RENAME_NOREPLACE:
            raise refusal(errno.EINVAL)
        if replaced is not None:
            if flags & RENAME_NOREPLACE:
                raise refusal(errno.EEXIST)
            if replaced is moved:
                return
            if isinstance(replaced, Directory):
                if not isinstance(moved, Directory):
                    raise refusal(errno.EISDIR)
                if replaced.names:
                    raise refusal(errno.ENOTEMPTY)
            elif isinstance(moved, Directory):
                raise refusal(errno.ENOTDIR)
        self._change("rename", [(source, name, None), (to, new, moved)], [moved])

    def _vacant(self, directory: Directory, name: bytes) -> None:
        if name in directory.names:
            raise refusal(errno.EEXIST)
        if directory.links == 0:
            raise refusal(errno.ENOENT)  # It was removed while somebody had it open.

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _change(
        self, what: str, edits: list[tuple[Directory, bytes, Inode | None]], given: list[Inode], is_birth: bool = False
    ) -> None:
        now_ns = time.time_ns()
        lost = [old for directory, name, _ in edits if (old := directory.names.get(name)) is not None]
        for directory, name, inode in edits:
            if inode is None:
                del directory.names[name]
            else:
                directory.names[name] = inode
                inode.links += 2 if isinstance(inode, Directory) else 1
                if isinstance(inode, File):
                    inode.last_name = name
            directory.mtime_ns = directory.ctime_ns = now_ns
        for inode in given:
            inode.pending += 1
        for inode in lost:
            inode.links -= 2 if isinstance(inode, Directory) else 1
            inode.ctime_ns = now_ns
        self.changes.append(Change(what, edits, given, is_birth))
        for inode in lost:
            self.forget_if_gone(inode)

    def forget_if_gone(self, inode: Inode) -> None:
        """A file that nothing can reach any more, not even a loss of power, takes no room."""
        if inode.links or inode.durable_links or inode.pending or inode.opens or inode is self.root:
            return
        if self.by_number.pop(inode.number, None) is not None and isinstance(inode, File):
            self._discard(inode)

    def _discard(self, file: File) -> None:
        if (descriptor := self._open.pop(file.key, None)) is not None:
            os.close(descriptor)
        os.unlink(file.key, dir_fd=self._store)

    # --- contents -----------------------------------------------------------------------------------------------------

    def descriptor(self, file: File) -> int:
        """An open descriptor of the file's contents, good until the next call."""
        held = self._open.get(file.key)
        if held is not None:
            self._open.move_to_end(file.key)
            return held
        if len(self._open) >= OPEN_FILES_MAX:
            os.close(self._open.popitem(last=False)[1])
        held = self._open[file.key] = os.open(file.key, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._store)
        return held

    def read(self, file: File, offset: int, size: int) -> bytes:
        """What is there now; shorter at the end."""
        return os.pread(self.descriptor(file), size, offset)

    def write(self, file: File, offset: int, data: bytes) -> int:
        """Write and return how many bytes were written."""
        descriptor = self.descriptor(file)
        self._keep(file, descriptor, offset, offset + len(data))
        count = os.pwrite(descriptor, data, offset)
        file.size = max(file.size, offset + count)
        file.mtime_ns = file.ctime_ns = time.time_ns()
        self._note(file, offset, data[:count], count)
        return count

    def truncate(self, file: File, size: int) -> None:
        """The file is so long."""
        if size == file.size:
            return
        descriptor = self.descriptor(file)
        self._keep(file, descriptor, size, file.size)
        os.ftruncate(descriptor, size)
        file.size = size
        file.mtime_ns = file.ctime_ns = time.time_ns()
        self._note(file, size, None, 0)

    def allocate(self, file: File, mode: int, offset: int, length: int) -> None:
        """As fallocate(2), for the modes that keep every byte where it is."""
        if mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE):
            raise refusal(errno.EOPNOTSUPP)
        descriptor = self.descriptor(file)
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            self._keep(file, descriptor, offset, min(offset + length, file.size))
        if _LIBC.fallocate(descriptor, mode, offset, length):
            raise refusal(ctypes.get_errno())
        size = os.fstat(descriptor).st_size
        if mode & (PUNCH_HOLE | ZERO_RANGE):
            zeroed = min(length, TEARABLE_BYTES_MAX, max(0, size - offset))
            self._note(file, offset, bytes(zeroed), zeroed)
        elif size != file.size:
            self._note(file, size, None, 0)
        file.size = size

    def _keep(self, file: File, descriptor: int, begin: int, end: int) -> None:
        """The blocks from `begin` to `end` are about to change: keep what a loss of power would leave there."""
        end = min(end, file.durable_size)
        for block in range(begin // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
            if block not in file.before:
                file.before[block] = os.pread(descriptor, BLOCK_BYTES, block * BLOCK_BYTES)

    def _note(self, file: File, offset: int, data: bytes | None, count: int) -> None:
        file.unsynced_writes += 1
        file.unsynced_bytes += count
        if file.tearable_bytes <= TEARABLE_BYTES_MAX:
            file.writes.append((offset, data))
            file.tearable_bytes += count + 64

    # --- syncs --------------------------------------------------------------------------------------------------------

    def sync(self, inode: Inode) -> None:
        """The file or directory is durable, as the module says."""
        if isinstance(inode, File):
            if inode.unsynced_writes:
                inode.durable_size = inode.size
                self._settle(inode)
            if inode.pending:
                self._commit(lambda change: inode in change.given)
        elif isinstance(inode, Directory) and self.changes:
            self._commit(
                lambda change: inode in change.given or any(directory is inode for directory, _, _ in change.edits)
            )

    @staticmethod
    def _settle(file: File) -> None:
        file.before.clear()
        file.writes.clear()
        file.tearable_bytes = file.unsynced_writes = file.unsynced_bytes = 0

    def _commit(self, is_asked: Any) -> None:
        """The changes that are asked for are durable, with those that they rest on."""
        chosen: list[Change] = []
        names: set[tuple[Directory, bytes]] = set()
        directories: set[Inode] = set()
        for change in reversed(self.changes):
            rests = any((directory, name) in names for directory, name, _ in change.edits) or (
                change.is_birth and change.given[0] in directories
            )
            if rests or is_asked(change):
                chosen.append(change)
                for directory, name, _ in change.edits:
                    names.add((directory, name))
                    directories.add(directory)
        if not chosen:
            return
        taken = set(map(id, chosen))
        self.changes = [change for change in self.changes if id(change) not in taken]
        touched: list[Inode] = []
        for change in reversed(chosen):
            for directory, name, inode in change.edits:
                old = directory.durable.pop(name, None)
                if old is not None:
                    old.durable_links -= 1
                    touched.append(old)
                if inode is not None:
                    directory.durable[name] = inode
                    inode.durable_links += 1
            for inode in change.given:
                inode.pending -= 1
                touched.append(inode)
        for inode in touched:
            self.forget_if_gone(inode)

    # --- the loss of power --------------------------------------------------------------------------------------------

    def lose(self, torn_by: random.Random | None = None) -> dict[str, Any]:
        """What was not synced is gone; return what that was. Nobody may use the tree meanwhile: every inode but the root has a new
        number afterwards, so that what the kernel still holds under the old ones is never seen again.

        torn_by: of each file that is left, a drawn number of its first unsynced writes survive, and the next one up to a sector
        that is drawn.
        """
        report: dict[str, Any] = {"bytes_lost": 0, "writes_lost": 0, "names_lost": len(self.changes)}
        shown: list[str] = []
        torn: list[dict[str, Any]] = []
        kept = dict(_reachable(self.root))
        for inode in list(self.by_number.values()):
            if not isinstance(inode, File):
                continue
            name = kept.get(inode, inode.last_name).decode(errors="replace")
            if not inode.is_synced:
                lost_writes, lost_bytes = inode.unsynced_writes, inode.unsynced_bytes
                writes = self._revert(inode)
                if torn_by is not None and inode in kept:
                    done = self._tear(inode, writes, torn_by)
                    lost_writes -= done["writes"]
                    lost_bytes -= done["bytes"]
                    torn.append({"file": name, **done})
                report["writes_lost"] += lost_writes
                report["bytes_lost"] += lost_bytes
                shown.append(name)
        report["files"] = sorted(shown)[:NAMES_SHOWN_MAX]
        report["names"] = [
            f"{change.what} {change.edits[-1][1].decode(errors='replace')}" for change in self.changes[:NAMES_SHOWN_MAX]
        ]
        if torn_by is not None:
            report["torn"] = torn[:NAMES_SHOWN_MAX]
        self.changes.clear()
        self._restart(kept)
        return report

    def _revert(self, file: File) -> list[tuple[int, bytes | None]]:
        descriptor = self.descriptor(file)
        os.ftruncate(descriptor, file.durable_size)
        for block, data in file.before.items():
            os.pwrite(descriptor, data, block * BLOCK_BYTES)
        os.ftruncate(descriptor, file.durable_size)
        file.size = file.durable_size
        writes = list(file.writes)
        self._settle(file)
        return writes

    def _tear(self, file: File, writes: list[tuple[int, bytes | None]], rng: random.Random) -> dict[str, int]:
        """Redo a prefix of the writes, as if it had reached the disk."""
        whole = rng.randrange(len(writes) + 1) if len(writes) > 1 else 0
        surviving = writes[:whole]
        cut = 0
        if whole < len(writes):
            offset, data = writes[whole]
            if data:
                ends = range((offset // SECTOR_BYTES + 1) * SECTOR_BYTES - offset, len(data), SECTOR_BYTES)
                cut = rng.choice([0, *ends])
                surviving = [*surviving, (offset, data[:cut])] if cut else surviving
        descriptor = self.descriptor(file)
        done_bytes = 0
        for offset, data in surviving:
            if data is None:
                os.ftruncate(descriptor, offset)
            else:
                os.pwrite(descriptor, data, offset)
                done_bytes += len(data)
        file.size = file.durable_size = os.fstat(descriptor).st_size
        return {"writes": whole, "bytes": done_bytes, "cut_at": cut}

    def _restart(self, kept: dict[Inode, bytes]) -> None:
        gone = [inode for inode in self.by_number.values() if inode not in kept and inode is not self.root]
        self.by_number = {ROOT: self.root}
        for inode in kept:
            inode.number = self._number()
            self.by_number[inode.number] = inode
        for inode in (self.root, *kept):
            inode.opens = inode.pending = 0
            inode.links = inode.durable_links * (2 if isinstance(inode, Directory) and inode is not self.root else 1)
            if isinstance(inode, Directory):
                inode.names = dict(inode.durable)
        for inode in gone:
            if isinstance(inode, File):
                self._discard(inode)

    # --- the end ------------------------------------------------------------------------------------------------------

    def leave(self, place: int) -> None:
        """What programs see now stands as ordinary files below the directory `place`; the store is empty."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        opened: list[int] = []
        names: dict[File, tuple[int, bytes]] = {}
        self._leave(self.root, place, names, opened)
        for inode in list(self.by_number.values()):
            if isinstance(inode, File) and inode not in names:
                os.unlink(inode.key, dir_fd=self._store)
        for descriptor in opened:
            os.close(descriptor)

    def _leave(self, directory: Directory, place: int, names: dict[File, tuple[int, bytes]], opened: list[int]) -> None:
        for name, inode in _sorted(directory.names.items()):
            if isinstance(inode, Directory):
                os.mkdir(name, 0o700, dir_fd=place)
                inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
                opened.append(inside)
                self._leave(inode, inside, names, opened)
            elif isinstance(inode, Link):
                os.symlink(inode.target, name, dir_fd=place)
                continue
            elif isinstance(inode, File):
                first = names.setdefault(inode, (place, name))
                if first != (place, name):
                    os.link(first[1], name, src_dir_fd=first[0], dst_dir_fd=place)
                    continue
                os.rename(inode.key, name, src_dir_fd=self._store, dst_dir_fd=place)
            os.chmod(name, stat.S_IMODE(inode.mode), dir_fd=place)
            os.chown(name, inode.uid, inode.gid, dir_fd=place)


def _reachable(root: Directory) -> Iterator[tuple[Inode, bytes]]:
    """What a loss of power leaves below `root`, each with its path, once."""
    seen: set[Inode] = set()
    waiting: list[tuple[Directory, bytes]] = [(root, b"")]
    while waiting:
        directory, path = waiting.pop()
        for name, inode in _sorted(directory.durable.items()):
            if inode not in seen:
                seen.add(inode)
                yield inode, path + name
                if isinstance(inode, Directory):
                    waiting.append((inode, path + name + b"/"))


def _sorted(items: Iterable[tuple[bytes, Inode]]) -> list[tuple[bytes, Inode]]:
    return sorted(items, key=lambda item: item[0])
