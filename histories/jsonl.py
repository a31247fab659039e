"""Our own file format: a header line {"themis-history": 1, ...}, then one op a line, written as it happens.

Each op reaches the kernel before `append` returns, so a `kill -9` of the writer loses at most the line that it was
writing. What a loss of power leaves is the caller's choice: ops are durable when `sync` returns. The reader forgives exactly one
cut line, at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from io import FileIO
from itertools import islice
from os import PathLike
from types import TracebackType
from typing import Any, BinaryIO, cast

import msgspec
from msgspec.structs import force_setattr

from histories import printing
from histories.history import History
from histories.json_text import FILE_DEPTH_MAX, decoded, may_have_deeper_line
from histories.loaded import Loaded, paused_gc
from histories.long_files import read_columns, size_of
from histories.op import NEMESIS, Op, OpType, Process
from histories.printing import quoted
from histories.repeated_keys import lines_with_repeated_keys, repeated_key
from histories.sources import Source, opened
from histories.wellformed import PROBLEMS_MAX, MalformedHistory, Problem, problems

VERSION = 1
MARK = "themis-history"
"""The header's key for the version; its presence in the first line is what says that a file is ours."""

_STEP_NS = 1_000_000
"""How long an op takes in a file without times, as in EDN without times."""

COMPACT_BYTES_MIN = 1 << 26
"""A file from this size on is read into columns: some 300,000 events, which would take 50 MB as ops."""

_CHUNK_BYTES = 1 << 22
"""Read at once: large enough that decoding dominates, small beside the ops that come of it."""

LINE_BYTES_MAX = 1 << 28
"""The longest line. A file without line ends, or gzip data that unpack to nothing but zeros, must not fill the memory."""


class Writer:
    """A history file under construction at `path`, where it replaces what was there; its header is in it at once.

    For one thread, but for `sync`, which any may call until `close`. `append` raises OSError when the disk refuses, and TypeError
    when a value is not JSON-like; the file then holds the ops before that one, and nothing more should be appended.
    """

    def __init__(
        self, path: str | PathLike[str], metadata: Mapping[str, Any] | None = None, *, is_durable: bool = False
    ) -> None:
        """is_durable: also a loss of power leaves a file with its header."""
        assert MARK not in (metadata or {}), f"{MARK} is the header's own key"
        self.path = os.fspath(path)
        self.count = 0
        # Sets come out sorted: the same run must give the same bytes whatever PYTHONHASHSEED.
        self._encoder = msgspec.json.Encoder(order="deterministic")
        self._line = bytearray()
        # Under another name until the header is in it: nobody ever sees a history file without one.
        fresh = f"{self.path}.new"
        self._file: FileIO = open(fresh, "wb", buffering=0)  # noqa: SIM115 - it lives as long as the writer
        try:
            mark = self._encoder.encode({MARK: VERSION})
            about = self._encoder.encode(dict(metadata)) if metadata else b"{}"
            self._write(mark[:-1] + (b"," if metadata else b"") + about[1:] + b"\n")
            if is_durable:
                self.sync()
            os.replace(fresh, self.path)
        except BaseException:
            self._file.close()
            os.unlink(fresh)
            raise
        if is_durable:
            directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def sync(self) -> None:
        """The ops before this call are durable. Raises OSError when the disk refuses."""
        os.fdatasync(self._file.fileno())

    def append(self, op: Op) -> None:
        """The op is in the file, as far as the kernel is concerned."""
        try:
            self._encoder.encode_into(op, self._line)
        except (TypeError, UnicodeEncodeError):
            self._encoder.encode_into(_plain_op(op), self._line)
        self._line += b"\n"
        self._write(self._line)
        self.count += 1

    def extend(self, ops: Iterable[Op]) -> None:
        """All of the ops are in the file; cheaper than one by one."""
        lines = bytearray()
        count = 0
        for op in ops:
            size = len(lines)
            try:
                self._encoder.encode_into(op, lines, -1)
            except (TypeError, UnicodeEncodeError):
                del lines[size:]  # What the encoder leaves there when it fails is not even initialised.
                self._encoder.encode_into(_plain_op(op), lines, -1)
            lines += b"\n"
            count += 1
        self._write(lines)
        self.count += count

    def close(self) -> None:
        """Nothing more is written. Idempotent."""
        self._file.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes | bytearray) -> None:
        written = self._file.write(data)
        while written is not None and written < len(data):
            data = data[written:]
            written = self._file.write(data)


def write(path: str | PathLike[str], ops: Iterable[Op], metadata: Mapping[str, Any] | None = None) -> None:
    """The file holds exactly these ops, under a header with this metadata."""
    with Writer(path, metadata) as writer:
        remaining = iter(ops)
        while batch := list(islice(remaining, 10_000)):
            writer.extend(batch)


def read(path: str | PathLike[str] | Source) -> Loaded:
    """The history in the file, without a last line that was cut.

    An op without an index has the number of its line's place. An op without a time happens at the time of the one
    before it; where no op has one, an op takes 1 ms.

    **Raises** OSError when the file cannot be read, MalformedHistory with every broken rule and its line when it is not
    a well-formed history.
    """
    with paused_gc(), opened(path) as source:
        metadata = _header(source.file.readline(LINE_BYTES_MAX), source.name)
        begin = source.file.tell()
        lines: Sequence[Op | Problem] | None = None
        if size_of(source.file) >= COMPACT_BYTES_MIN:
            lines, truncated, broken = read_columns(source.file, _CHUNK_BYTES, LINE_BYTES_MAX, _is_cut)
        if lines is None:
            source.file.seek(begin)
            lines, truncated = _Lines().decode(source.file)
            broken = problems(lines, lines=2)
    if broken:
        raise MalformedHistory(broken, source.name)
    return Loaded(History(cast(Sequence[Op], lines)), metadata, truncated, lines=range(2, len(lines) + 2))


def _header(line: bytes, path: str | PathLike[str]) -> dict[str, Any]:
    """The metadata beside the version. **Raises** MalformedHistory."""
    try:
        header = decoded(msgspec.json.decode, line, FILE_DEPTH_MAX)
    except msgspec.DecodeError:
        header = None
    if not isinstance(header, dict) or MARK not in header:
        said = printing.line(line.rstrip().decode(errors="replace"), 80) or "nothing"
        raise MalformedHistory(
            [
                Problem(
                    0,
                    "header",
                    f'{{"{MARK}": {VERSION}}} was due, not {said}; the first line names the version of the format',
                    1,
                )
            ],
            path,
        )
    if (repeated := repeated_key(line)) is not None:
        raise MalformedHistory([Problem(0, "header", str(repeated), 1)], path)
    version = header.pop(MARK)
    if version != VERSION or isinstance(version, bool):
        raise MalformedHistory(
            [Problem(0, "version", f"version {quoted(version)}; this reader knows {VERSION}", 1)], path
        )
    return header


class _LooseOp(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An op as others write it: without what the file's order says as well."""

    type: OpType
    process: Process
    f: str
    index: int | None = None
    time: int | None = None
    key: Any = None
    value: Any = None
    error: Any = None
    node: str | None = None


class _Lines:
    """What is in each line behind the header: an op, or what is wrong with it."""

    def __init__(self) -> None:
        self._items: list[Op | Problem] = []
        self._unreadable_count = 0
        self._untimed: list[int] = []  # Positions of the ops that say no time.
        self._shared: dict[str, str] = {}
        self._op = msgspec.json.Decoder(Op)
        self._loose_op = msgspec.json.Decoder(_LooseOp)

    def decode(self, file: BinaryIO) -> tuple[list[Op | Problem], bool]:
        """All lines, and whether the last one was cut (and left out); none after too many that cannot be read."""
        rest = bytearray()  # It grows by as many blocks as a long line has.
        while self._unreadable_count <= PROBLEMS_MAX and (block := file.read(_CHUNK_BYTES)):
            end = block.rfind(b"\n") + 1
            if end == 0:
                rest += block
                if len(rest) > LINE_BYTES_MAX:
                    self._items.append(_too_long(len(self._items)))
                    return self._items, False
                continue
            whole = bytes(rest) + block[:end] if rest else block[:end]
            rest = bytearray(block[end:])
            ops = None
            with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if not may_have_deeper_line(whole, FILE_DEPTH_MAX):
                    ops = self._op.decode_lines(whole)
            # decode_lines passes over empty lines.
            is_plain = ops is not None and len(ops) == whole.count(b"\n")
            if ops is None or not is_plain or next(lines_with_repeated_keys(whole, ops), None) is not None:
                self._decode_singly(whole.split(b"\n")[:-1])
            else:
                _share_strings(ops, self._shared)
                self._items.extend(ops)
        is_cut = False
        if rest and self._unreadable_count <= PROBLEMS_MAX:
            self._decode_singly([bytes(rest)])
            is_cut = isinstance(self._items[-1], Problem) and _is_cut(bytes(rest))
            if is_cut:
                self._items.pop()
        self._fill_times()
        return self._items, is_cut

    def _decode_singly(self, lines: Iterable[bytes]) -> None:
        start = len(self._items)
        for line in lines:
            position = len(self._items)
            if self._unreadable_count > PROBLEMS_MAX:
                break
            try:
                loose = decoded(self._loose_op.decode, line, FILE_DEPTH_MAX)
            except msgspec.DecodeError as error:
                self._items.append(Problem(position, *_unreadable(line, error), position + 2))
                self._unreadable_count += 1
                continue
            if (repeated := repeated_key(line)) is not None:
                self._items.append(Problem(position, "syntax", str(repeated), position + 2))
                self._unreadable_count += 1
                continue
            if loose.time is None:
                self._untimed.append(position)
            self._items.append(
                Op(
                    position if loose.index is None else loose.index,
                    0 if loose.time is None else loose.time,
                    loose.type,
                    loose.process,
                    loose.f,
                    loose.key,
                    loose.value,
                    loose.error,
                    loose.node,
                )
            )
        _share_strings((item for item in islice(self._items, start, None) if isinstance(item, Op)), self._shared)

    def _fill_times(self) -> None:
        """Every op has a time: its own, or that of the op before it, or where none has one, 1 ms an op."""
        has_times = len(self._untimed) < sum(isinstance(item, Op) for item in self._items)
        last_ns = 0
        untimed = iter([*self._untimed, -1])
        due = next(untimed)
        if due < 0:
            return
        for position, item in enumerate(self._items):
            if not isinstance(item, Op):
                continue
            if position == due:
                force_setattr(item, "time", last_ns if has_times else position * _STEP_NS)
                due = next(untimed)
            last_ns = max(last_ns, item.time)


def _unreadable(line: bytes, error: Exception) -> tuple[str, str]:
    """The broken rule, and how, of a line that is no op."""
    if not line.strip():
        return "syntax", "an empty line"
    try:
        fields = decoded(msgspec.json.decode, line, FILE_DEPTH_MAX)
    except msgspec.DecodeError:
        return "syntax", f"{error}: {printing.line(line.decode(errors='replace'), 80)}"
    if isinstance(fields, dict):
        if fields.get("type", "ok") not in ("invoke", "ok", "fail", "info"):
            return "type", f"{quoted(fields['type'])} is not a type: invoke, ok, fail or info"
        process = fields.get("process", NEMESIS)
        if process != NEMESIS and type(process) is not int:
            return "process", f"{quoted(process)} is not a process: an integer from 0 up, or {NEMESIS!r}"
    return "syntax", str(error)


def _too_long(position: int) -> Problem:
    return Problem(position, "syntax", f"a line of more than {LINE_BYTES_MAX >> 20} MiB", position + 2)


def _is_cut(line: bytes) -> bool:
    """Whether the unterminated last line is the beginning of an object."""
    if not line.startswith(b"{"):
        return False
    try:
        msgspec.json.decode(line)
    except UnicodeDecodeError:
        return True
    except msgspec.DecodeError as error:
        return "truncated" in str(error) or "UTF-8" in str(error)  # By msgspec 0.23, which raises no other error.
    except RecursionError:
        return False
    return False


def _share_strings(ops: Iterable[Op], shared: dict[str, str]) -> None:
    """Equal f, key and node strings are one object: a million copies of "write" would take most of the memory."""
    share = shared.setdefault
    for op in ops:
        f, key, node = op.f, op.key, op.node
        force_setattr(op, "f", share(f, f))
        if key.__class__ is str:
            force_setattr(op, "key", share(key, key))
        if node is not None:
            force_setattr(op, "node", share(node, node))


def _plain_op(op: Op) -> Op:
    """The same op without what the encoder refuses: mixed sets, keys that are no strings, halves of surrogates."""
    return msgspec.structs.replace(op, key=_plain(op.key), value=_plain(op.value), error=_plain(op.error))


def _plain(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case list() | tuple():
            return [_plain(item) for item in value]
        case set() | frozenset():
            return [_plain(item) for item in sorted(value, key=repr)]
        case dict():
            return {_plain(key) if isinstance(key, str) else repr(key): _plain(item) for key, item in value.items()}
        case msgspec.Struct():
            return _plain(msgspec.structs.asdict(value))
        case _:
            return value
