"""Serves one node's data directory as a file system that can lose what was not synced.

    python -m harness.environments.write_cache PLACE SOURCE    (commands on its standard input, answers on its standard output)

It answers {"ok": null} when PLACE is mounted. Commands: {"do": "lose", "torn_by": seed or null}, {"do": "kill_at_sync", "group":
process group or 0}, {"do": "state"}, {"do": "end"}; answers: {"ok": value} or {"error": text}, JSON, one a line. It ends when told
so, when its input ends and when its parent ends; then PLACE is an ordinary directory with the files that programs saw last.

While it is mounted, the contents are files of their own in a folder of the directory below the mount: a disk that is full, or of a
size of its own, is so for programs too. One thread does everything, so that a command comes between two operations.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import select
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from harness.environments.write_cache import protocol
from harness.environments.write_cache.image import Directory, File, Image, Inode, Link, refusal

STORE = ".themis-contents"
WATCH_MS = 500
"""How often the parent is looked at."""
UNMOUNT_S_MAX = 3.0
ATTRIBUTES_HOLD_S = 60
"""The kernel asks for the attributes again after that; it knows of all that changes them, since nobody else does."""
_DIRECTORY, _FILE, _LINK = 4, 8, 10


class Server:
    """Answers the kernel. place: the mount point. Raises OSError when it cannot be mounted."""

    def __init__(self, place: str, source: str) -> None:
        self.place = os.path.abspath(place)
        self.below = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if os.listdir(self.below):
            raise OSError(f"{self.place} is not empty: this file system begins empty")
        found = os.fstat(self.below)
        os.mkdir(STORE, 0o700, dir_fd=self.below)
        self.store = os.open(STORE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.below)
        self.image = Image(self.store, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
        self.doomed_group = 0
        """The process group that dies at the next sync, before it."""
        self.killed_at = ""
        self._buffer = bytearray(protocol.MESSAGE_BYTES_MAX)
        self._listings: dict[int, list[tuple[bytes, int, int]]] = {}
        """Handle of an open directory -> name, inode and type of what stood in it when it was opened."""
        self._handles = 0
        self._answers: dict[int, Callable[[int, memoryview, tuple[int, ...]], bytes | None]] = {
            protocol.INIT: self._init,
            protocol.LOOKUP: self._look_up,
            protocol.GETATTR: self._attributes,
            protocol.SETATTR: self._set_attributes,
            protocol.READLINK: self._read_link,
            protocol.SYMLINK: self._symlink,
            protocol.MKNOD: self._mknod,
            protocol.MKDIR: self._mkdir,
            protocol.UNLINK: self._unlink,
            protocol.RMDIR: self._rmdir,
            protocol.RENAME: self._rename,
            protocol.RENAME2: self._rename2,
            protocol.LINK: self._link,
            protocol.OPEN: self._open,
            protocol.CREATE: self._create,
            protocol.READ: self._read,
            protocol.WRITE: self._write,
            protocol.STATFS: self._statfs,
            protocol.RELEASE: self._release,
            protocol.FSYNC: self._sync,
            protocol.FSYNCDIR: self._sync,
            protocol.OPENDIR: self._open_directory,
            protocol.READDIR: self._read_directory,
            protocol.RELEASEDIR: self._release_directory,
            protocol.FALLOCATE: self._allocate,
            protocol.LSEEK: self._seek,
        }
        try:
            self.device = protocol.mount(self.place, source)
        except OSError:
            os.rmdir(STORE, dir_fd=self.below)
            raise
        os.set_blocking(self.device, False)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """Answer one request, if there is one; whether the file system is still mounted."""
        try:
            count = os.readv(self.device, [self._buffer])
        except OSError as error:
            # EINTR and ENOENT: the request was taken back.
            return error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT)
        message = memoryview(self._buffer)[:count]
        header = protocol.IN.unpack_from(message)
        opcode, unique, number = header[1], header[2], header[3]
        if opcode in (protocol.FORGET, protocol.BATCH_FORGET, protocol.INTERRUPT):
            return True
        handler = self._answers.get(opcode)
        status, data = 0, b""
        try:
            if handler is None:
                status = -errno.ENOSYS
            else:
                data = handler(number, message[protocol.IN.size :], header) or b""
        except OSError as error:
            status = -(error.errno or errno.EIO)
        answer = protocol.OUT.pack(protocol.OUT.size + len(data), status, unique)
        with contextlib.suppress(OSError):  # Who asked has died meanwhile.
            os.writev(self.device, [answer, data] if data else [answer])
        return True

    def end(self) -> None:
        """PLACE is an ordinary directory, with what programs saw last."""
        done = threading.Event()

        def unmount() -> None:
            # From a thread of its own: the kernel may first write what was changed through a mapping.
            deadline_s = time.monotonic() + UNMOUNT_S_MAX
            while True:
                try:
                    protocol.unmount(self.place)
                    break
                except OSError:
                    if time.monotonic() > deadline_s or not os.path.ismount(self.place):
                        with contextlib.suppress(OSError):
                            protocol.unmount(self.place, protocol.DETACH)
                        break
                    time.sleep(0.02)
            done.set()

        threading.Thread(target=unmount, daemon=True).start()
        poll = select.poll()
        poll.register(self.device, select.POLLIN)
        while not done.is_set():
            if poll.poll(20) and not self.step():
                done.wait(UNMOUNT_S_MAX)
        while poll.poll(0) and self.step():
            pass  # What the kernel asked before the end.
        os.close(self.device)
        self.image.leave(self.below)
        os.rmdir(STORE, dir_fd=self.below)

    # --- attributes ---------------------------------------------------------------------------------------------------

    def _inode(self, number: int) -> Inode:
        found = self.image.by_number.get(number)
        if found is None:
            raise refusal(errno.ESTALE)  # Of the time before a loss of power.
        return found

    def _directory(self, number: int) -> Directory:
        found = self._inode(number)
        if not isinstance(found, Directory):
            raise refusal(errno.ENOTDIR)
        return found

    def _file(self, number: int) -> File:
        found = self._inode(number)
        if not isinstance(found, File):
            raise refusal(errno.EISDIR if isinstance(found, Directory) else errno.EINVAL)
        return found

    @staticmethod
    def _pack(inode: Inode) -> bytes:
        (atime_s, atime_ns), (mtime_s, mtime_ns), (ctime_s, ctime_ns) = (
            divmod(time_ns, 10**9) for time_ns in (inode.atime_ns, inode.mtime_ns, inode.ctime_ns)
        )
        # A directory has one link, as on Btrfs: who counts subdirectories by it looks at each entry instead.
        links = 1 if isinstance(inode, Directory) else inode.links
        return protocol.ATTRIBUTES.pack(
            inode.number,
            inode.size,
            -(-inode.size // 512),
            atime_s,
            mtime_s,
            ctime_s,
            atime_ns,
            mtime_ns,
            ctime_ns,
            inode.mode,
            links,
            inode.uid,
            inode.gid,
            0,
            4096,
            0,
        )

    def _entry(self, inode: Inode) -> bytes:
        # Names hold for no time: after a loss of power they may lead elsewhere.
        return protocol.ENTRY.pack(inode.number, 0, 0, ATTRIBUTES_HOLD_S, 0, 0) + self._pack(inode)

    def _attributes(self, number: int, _: memoryview, __: tuple[int, ...]) -> bytes:
        inode = self._inode(number)
        hold_s = 0 if inode is self.image.root else ATTRIBUTES_HOLD_S
        return protocol.ATTRIBUTES_HEAD.pack(hold_s, 0, 0) + self._pack(inode)

    def _set_attributes(self, number: int, body: memoryview, header: tuple[int, ...]) -> bytes:
        inode = self._inode(number)
        valid, _, _, size, _, atime_s, mtime_s, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = (
            protocol.SETATTR_IN.unpack_from(body)
        )
        now_ns = time.time_ns()
        if valid & protocol.SET_SIZE:
            self.image.truncate(self._file(number), size)
        if valid & protocol.SET_MODE:
            inode.mode = stat.S_IFMT(inode.mode) | stat.S_IMODE(mode)
        if valid & protocol.SET_UID:
            inode.uid = uid
        if valid & protocol.SET_GID:
            inode.gid = gid
        if valid & protocol.SET_ATIME:
            inode.atime_ns = now_ns if valid & protocol.SET_ATIME_NOW else atime_s * 10**9 + atime_ns
        if valid & protocol.SET_MTIME:
            inode.mtime_ns = now_ns if valid & protocol.SET_MTIME_NOW else mtime_s * 10**9 + mtime_ns
        inode.ctime_ns = now_ns
        return self._attributes(number, body, header)

    # --- names --------------------------------------------------------------------------------------------------------

    def _init(self, _: int, body: memoryview, __: tuple[int, ...]) -> bytes:
        _, _, readahead_bytes, offered = protocol.INIT_IN.unpack_from(body)
        wanted = protocol.ASYNC_READ | protocol.BIG_WRITES | protocol.PARALLEL_DIROPS | protocol.MAX_PAGES
        return protocol.INIT_OUT.pack(
            protocol.MAJOR,
            protocol.MINOR,
            readahead_bytes,
            wanted & offered,
            64,
            48,
            protocol.WRITE_BYTES_MAX,
            1,
            protocol.WRITE_BYTES_MAX // 4096,
            0,
        )

    def _look_up(self, number: int, body: memoryview, _: tuple[int, ...]) -> bytes:
        return self._entry(self.image.look_up(self._directory(number), _name(body)))

    def _made(self, number: int, name: bytes, mode: int, header: tuple[int, ...], target: bytes = b"") -> Inode:
        return self.image.create(self._directory(number), name, mode, header[4], header[5], target)

    def _symlink(self, number: int, body: memoryview, header: tuple[int, ...]) -> bytes:
        name, target = bytes(body).split(b"\0")[:2]
        return self._entry(self._made(number, name, stat.S_IFLNK, header, target))

    def _read_link(self, number: int, _: memoryview, __: tuple[int, ...]) -> bytes:
        inode = self._inode(number)
        if not isinstance(inode, Link):
            raise refusal(errno.EINVAL)
        return inode.target

    def _mknod(self, number: int, body: memoryview, header: tuple[int, ...]) -> bytes:
        mode = protocol.FOUR_U32.unpack_from(body)[0]
        return self._entry(self._made(number, _name(body[16:]), mode, header))

    def _mkdir(self, number: int, body: memoryview, header: tuple[int, ...]) -> bytes:
        mode, _ = protocol.TWO_U32.unpack_from(body)
        return self._entry(self._made(number, _name(body[8:]), stat.S_IFDIR | stat.S_IMODE(mode), header))

    def _unlink(self, number: int, body: memoryview, _: tuple[int, ...]) -> None:
        self.image.unlink(self._directory(number), _name(body))

    def _rmdir(self, number: int, body: memoryview, _: tuple[int, ...]) -> None:
        self.image.rmdir(self._directory(number), _name(body))

    def _rename(self, number: int, body: memoryview, _: tuple[int, ...]) -> None:
        self._renamed(number, protocol.U64.unpack_from(body)[0], 0, bytes(body[8:]))

    def _rename2(self, number: int, body: memoryview, _: tuple[int, ...]) -> None:
        to, flags, _ = protocol.OPEN_OUT.unpack_from(body)
        self._renamed(number, to, flags, bytes(body[16:]))

    def _renamed(self, number: int, to: int, flags: int, names: bytes) -> None:
        old, new = names.split(b"\0")[:2]
        self.image.rename(self._directory(number), old, self._directory(to), new, flags)

    def _link(self, number: int, body: memoryview, _: tuple[int, ...]) -> bytes:
        inode = self._inode(protocol.U64.unpack_from(body)[0])
        self.image.link(inode, self._directory(number), _name(body[8:]))
        return self._entry(inode)

    # --- open files ---------------------------------------------------------------------------------------------------

    def _open(self, number: int, _: memoryview, __: tuple[int, ...]) -> bytes:
        self._file(number).opens += 1
        return protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE, 0)

    def _create(self, number: int, body: memoryview, header: tuple[int, ...]) -> bytes:
        mode = protocol.FOUR_U32.unpack_from(body)[1]
        made = self._made(number, _name(body[16:]), stat.S_IFREG | stat.S_IMODE(mode), header)
        made.opens += 1
        return self._entry(made) + protocol.OPEN_OUT.pack(0, protocol.KEEP_CACHE, 0)

    def _release(self, number: int, _: memoryview, __: tuple[int, ...]) -> None:
        inode = self.image.by_number.get(number)
        if inode is not None:
            inode.opens -= 1
            self.image.forget_if_gone(inode)

    def _read(self, number: int, body: memoryview, _: tuple[int, ...]) -> bytes:
        _, offset, size, _, _, _, _ = protocol.READ_IN.unpack_from(body)
        return self.image.read(self._file(number), offset, size)

    def _write(self, number: int, body: memoryview, _: tuple[int, ...]) -> bytes:
        _, offset, size, _, _, flags, _ = protocol.WRITE_IN.unpack_from(body)
        file = self._file(number)
        data = bytes(body[protocol.WRITE_IN.size : protocol.WRITE_IN.size + size])
        count = self.image.write(file, offset, data)
        if flags & os.O_DSYNC:  # O_SYNC contains it.
            self._synced(file)
        return protocol.TWO_U32.pack(count, 0)

    def _allocate(self, number: int, body: memoryview, _: tuple[int, ...]) -> None:
        _, offset, length, mode, _ = protocol.FALLOCATE_IN.unpack_from(body)
        self.image.allocate(self._file(number), mode, offset, length)

    def _seek(self, number: int, body: memoryview, _: tuple[int, ...]) -> bytes:
        _, offset, whence, _ = protocol.SEEK_IN.unpack_from(body)
        return protocol.U64.pack(os.lseek(self.image.descriptor(self._file(number)), offset, whence))

    def _sync(self, number: int, _: memoryview, __: tuple[int, ...]) -> None:
        self._synced(self._inode(number))

    def _synced(self, inode: Inode) -> None:
        group, self.doomed_group = self.doomed_group, 0
        if group and _is_killed(group):
            self.killed_at = inode.last_name.decode(errors="replace") if isinstance(inode, File) else "a directory"
            raise refusal(errno.EIO)
        self.image.sync(inode)

    # --- directories --------------------------------------------------------------------------------------------------

    def _open_directory(self, number: int, _: memoryview, __: tuple[int, ...]) -> bytes:
        directory = self._directory(number)
        listing = [(b".", number, _DIRECTORY), (b"..", number, _DIRECTORY)]
        for name, inode in sorted(directory.names.items(), key=lambda item: item[0]):
            kind = _DIRECTORY if isinstance(inode, Directory) else _LINK if isinstance(inode, Link) else _FILE
            listing.append((name, inode.number, kind))
        self._handles += 1
        self._listings[self._handles] = listing
        return protocol.OPEN_OUT.pack(self._handles, 0, 0)

    def _read_directory(self, _: int, body: memoryview, __: tuple[int, ...]) -> bytes:
        handle, offset, size, _, _, _, _ = protocol.READ_IN.unpack_from(body)
        listing = self._listings.get(handle, [])
        packed = bytearray()
        for position in range(offset, len(listing)):
            name, number, kind = listing[position]
            entry = protocol.DIRENT.pack(number, position + 1, len(name), kind) + name
            entry += bytes(-len(entry) % 8)
            if len(packed) + len(entry) > size:
                break
            packed += entry
        return bytes(packed)

    def _release_directory(self, _: int, body: memoryview, __: tuple[int, ...]) -> None:
        self._listings.pop(protocol.U64.unpack_from(body)[0], None)

    def _statfs(self, _: int, __: memoryview, ___: tuple[int, ...]) -> bytes:
        found = os.fstatvfs(self.store)
        return protocol.STATFS_OUT.pack(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_bsize,
            255,
            found.f_frsize,
            0,
        )

    # --- commands -----------------------------------------------------------------------------------------------------

    def do(self, command: dict[str, Any]) -> Any:
        """Carry out one command but `end`. Raises ValueError for one that is unknown."""
        if command["do"] == "lose":
            seed = command.get("torn_by")
            report = self.image.lose(None if seed is None else random.Random(seed))
            if self.killed_at:
                report["killed_before_sync_of"] = self.killed_at
            self.doomed_group, self.killed_at = 0, ""
            return report
        if command["do"] == "kill_at_sync":
            self.doomed_group, self.killed_at = int(command["group"]), ""
            return None
        if command["do"] == "state":
            files = [inode for inode in self.image.by_number.values() if isinstance(inode, File)]
            return {
                "unsynced_bytes": sum(file.unsynced_bytes for file in files),
                "unsynced_names": len(self.image.changes),
                "killed_at": self.killed_at,
            }
        raise ValueError(f"no command {command['do']!r}")


def _is_killed(group: int) -> bool:
    """Kill this process group; False where it is gone, and the sync is another's: of the node's next process, after a loss of power
    that broke off."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _name(data: memoryview) -> bytes:
    name = bytes(data)
    return name[: name.index(0)]


def serve(server: Server) -> None:
    """Answer the kernel and the commands until told to end, or until nobody is there who could."""
    commands, answers = sys.stdin.fileno(), sys.stdout.fileno()
    parent, held = os.getppid(), b""
    poll = select.poll()
    poll.register(server.device, select.POLLIN)
    poll.register(commands, select.POLLIN)
    while True:
        ready = dict(poll.poll(WATCH_MS))
        if server.device in ready and not server.step():
            return
        if commands in ready:
            data = os.read(commands, 1 << 16)
            if not data:
                return
            held += data
            *lines, held = held.split(b"\n")
            for line in lines:
                command = json.loads(line)
                if command["do"] == "end":
                    return
                try:
                    answer = {"ok": server.do(command)}
                except (OSError, ValueError) as error:
                    answer = {"error": str(error) or type(error).__name__}
                os.write(answers, json.dumps(answer).encode() + b"\n")
        if os.getppid() != parent:
            return


def main(arguments: list[str]) -> int:
    """Serve one place until the end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # It ends with its input, so that it always unmounts.
    place, source = arguments
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        server = Server(place, source)
    except OSError as error:
        os.write(1, json.dumps({"error": error.strerror or str(error)}).encode() + b"\n")
        return 1
    os.write(1, b'{"ok": null}\n')
    ended: dict[str, Any] = {"ok": None}
    try:
        serve(server)
    finally:
        try:
            server.end()
        except OSError as error:
            ended = {"error": str(error)}
        with contextlib.suppress(OSError):
            os.write(1, json.dumps(ended).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
