"""A history comes from a file, packed or not, or from standard input; damaged packing is refused in words."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest

from histories import MalformedHistory, h, jepsen, jsonl, load
from histories.sources import opened

OURS = h("p0 invoke write 1 | p1 invoke read | p0 ok write 1 | p1 ok read 1")


class Pipe(io.RawIOBase):
    """Standard input as a pipe is: it cannot be rewound, and it gives what it likes at a time."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        piece, self._left = self._left[:7], self._left[7:]
        buffer[: len(piece)] = piece
        return len(piece)


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Pipe(data))))


def as_bytes(tmp_path: Path, format: str) -> bytes:
    path = tmp_path / "plain"
    (jsonl if format == "jsonl" else jepsen).write(path, OURS)
    return path.read_bytes()


@pytest.mark.parametrize("format", ["jsonl", "edn"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_standard_input_and_gzip_hold_the_same_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, is_packed: bool
) -> None:
    data = as_bytes(tmp_path, format)
    sent = gzip.compress(data) if is_packed else data
    feed(monkeypatch, sent)
    assert load("-").history == OURS
    for name in ("history.gz", "history"):
        (tmp_path / name).write_bytes(sent)
        assert load(tmp_path / name).history == OURS
        assert load(tmp_path / name).format == format


def test_a_packed_file_that_was_cut_before_it_was_packed_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl.gz"
    path.write_bytes(gzip.compress(as_bytes(tmp_path, "jsonl")[:-10]))
    assert load(path).truncated
    assert len(load(path).history) == 3


def damaged(data: bytes) -> dict[str, bytes]:
    packed = bytearray(gzip.compress(data))
    flipped = packed.copy()
    flipped[len(flipped) // 2] ^= 0xFF
    wrong_sum = packed.copy()
    wrong_sum[-5] ^= 0xFF
    return {
        "cut": bytes(packed[: len(packed) // 2]),
        "only the mark": b"\x1f\x8b",
        "a flipped byte": bytes(flipped),
        "a wrong sum": bytes(wrong_sum),
        "not deflated": b"\x1f\x8b\x07" + bytes(20),
        "rubbish behind it": bytes(packed) + b"rubbish",
    }


@pytest.mark.parametrize("kind", damaged(b""))
@pytest.mark.parametrize("format", ["jsonl", "edn"])
def test_damaged_gzip_data_is_refused(tmp_path: Path, kind: str, format: str) -> None:
    path = tmp_path / "history.jsonl.gz"
    path.write_bytes(damaged(as_bytes(tmp_path, format))[kind])
    with pytest.raises(MalformedHistory, match="gzip: the gzip data is damaged") as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("data", "part"),
    [(b"", "the file is empty"), (b"\0\1\2\3", "binary data"), (b'{"x": 1}\n', "header")],
)
def test_what_is_packed_is_refused_as_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, part: str
) -> None:
    path = tmp_path / "history.gz"
    path.write_bytes(gzip.compress(data))
    with pytest.raises(MalformedHistory, match=part):
        load(path)
    feed(monkeypatch, data)
    with pytest.raises(MalformedHistory, match=part) as caught:
        load("-")
    assert "standard input" in str(caught.value)


def test_an_error_of_the_body_passes_through(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_bytes(gzip.compress(b"x"))
    with pytest.raises(KeyError), opened(path):
        raise KeyError("mine")
