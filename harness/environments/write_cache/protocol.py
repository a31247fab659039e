"""The kernel's side of a FUSE file system: its messages, as linux/fuse.h has them, and its mounting.

Spoken without libfuse: the messages name inodes and not paths, which is what an image of durable names needs, and a machine needs
nothing but Python and /dev/fuse. Standard library only.
"""

from __future__ import annotations

import array
import ctypes
import os
import shutil
import socket
import struct
import subprocess

DEVICE = "/dev/fuse"
MISSING = f"{DEVICE} is missing: modprobe fuse (in a container: start it with --device {DEVICE})"
TYPE = "fuse.themis"
"""What /proc/mounts says of a mount of ours."""
MOUNTER = "fusermount3"
"""Mounts for those who are not root; Debian's package fuse3 has it."""
MAJOR, MINOR = 7, 31
WRITE_BYTES_MAX = 1 << 18
MESSAGE_BYTES_MAX = WRITE_BYTES_MAX + 4096

IN = struct.Struct("<IIQQIIII")
"""length, opcode, unique, inode, uid, gid, pid, padding"""
OUT = struct.Struct("<IiQ")
"""length, minus errno, unique"""
ATTRIBUTES = struct.Struct("<6Q10I")
"""inode, size, blocks, atime, mtime, ctime; their ns, mode, links, uid, gid, device, block size, flags"""
ENTRY = struct.Struct("<QQQQII")
"""inode, generation, s that the name holds, s that the attributes hold, their ns"""
ATTRIBUTES_HEAD = struct.Struct("<QII")
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHH32x")
SETATTR_IN = struct.Struct("<II6Q8I")
READ_IN = struct.Struct("<QQIIQII")
WRITE_IN = struct.Struct("<QQIIQII")
FALLOCATE_IN = struct.Struct("<QQQII")
SEEK_IN = struct.Struct("<QQII")
STATFS_OUT = struct.Struct("<5Q4I24x")
OPEN_OUT = struct.Struct("<QII")
DIRENT = struct.Struct("<QQII")
U32, U64 = struct.Struct("<I"), struct.Struct("<Q")
TWO_U32, FOUR_U32 = struct.Struct("<II"), struct.Struct("<IIII")

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR = 1, 2, 3, 4, 5, 6, 8, 9, 10, 11
RENAME, LINK, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, INIT, OPENDIR = 12, 13, 14, 15, 16, 17, 18, 20, 26, 27
READDIR, RELEASEDIR, FSYNCDIR, CREATE, INTERRUPT, DESTROY, BATCH_FORGET = 28, 29, 30, 35, 36, 38, 42
FALLOCATE, RENAME2, LSEEK = 43, 45, 46

ASYNC_READ, BIG_WRITES, PARALLEL_DIROPS, MAX_PAGES = 1 << 0, 1 << 5, 1 << 18, 1 << 22
KEEP_CACHE = 1 << 1
SET_MODE, SET_UID, SET_GID, SET_SIZE, SET_ATIME, SET_MTIME, SET_ATIME_NOW, SET_MTIME_NOW = (1 << i for i in range(8))

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_LIBC.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_MS_NOSUID, _MS_NODEV = 2, 4
DETACH = 2


def lacking() -> str:
    """What this machine lacks to mount such a file system here, with the command that mends it; "" when it lacks nothing."""
    if not os.path.exists(DEVICE):
        return MISSING
    if os.geteuid() == 0:
        return ""
    if shutil.which(MOUNTER) is None:
        return f"{MOUNTER} is not installed, without which only root can mount: apt-get install fuse3"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"{DEVICE} cannot be opened: chmod 666 {DEVICE}, or run it as root"
    return ""


def mount(place: str, source: str) -> int:
    """Mount a file system at `place` and return the descriptor on which the kernel asks. source: its name in /proc/mounts. Raises
    OSError that says what is missing."""
    if os.geteuid() != 0:
        return _mount_by_helper(place, source)
    device = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    if _LIBC.mount(source.encode(), os.fsencode(place), TYPE.encode(), _MS_NOSUID | _MS_NODEV, options.encode()):
        number = ctypes.get_errno()
        os.close(device)
        raise OSError(number, f"{place} cannot be mounted: {os.strerror(number)}")
    return device


def _mount_by_helper(place: str, source: str) -> int:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            ended = subprocess.run(
                [MOUNTER, "-o", f"fsname={source},subtype=themis,default_permissions", "--", place],
                env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=(theirs.fileno(),),
                capture_output=True,
                check=False,
            )
        except FileNotFoundError:
            raise OSError(lacking()) from None
        if ended.returncode:
            raise OSError(f"{place} cannot be mounted: {ended.stderr.decode(errors='replace').strip()}")
        _, passed, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
        received = array.array("i")
        received.frombytes(passed[0][2][:4])
        return received[0]


def unmount(place: str, flags: int = 0) -> None:
    """Nothing is mounted at `place` by us any more. flags: DETACH: also while files there are open. Raises OSError."""
    if os.geteuid() != 0:
        argv = [MOUNTER, "-u", *(["-z"] if flags else []), "--", place]
        ended = subprocess.run(argv, capture_output=True, check=False)
        if ended.returncode:
            raise OSError(f"{place} is still mounted: {ended.stderr.decode(errors='replace').strip()}")
    elif _LIBC.umount2(os.fsencode(place), flags):
        number = ctypes.get_errno()
        raise OSError(number, f"{place} is still mounted: {os.strerror(number)}")
