"""A node refuses another's data, says whose it is, and leaves it as it was; it never starts empty in its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from targets import data_owner
from targets.data_owner import Foreign, Owner, claim
from targets.node import USAGE
from targets.tests.running import RunningNode, free_port
from targets.wal import CHECKPOINT_MAGIC, MAGIC

OURS = ("raft", "kv", "n1")


def contents(directory: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_a_directory_belongs_to_the_first_that_claims_it(tmp_path: Path) -> None:
    claim(tmp_path / "data", *OURS)
    claim(tmp_path / "data", *OURS)
    assert msgspec.json.decode((tmp_path / "data" / "owner.json").read_bytes(), type=Owner) == Owner(1, *OURS)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (("raft", "kv", "n2"), "node n1, and this node's is n2"),
        (("paxos", "kv", "n1"), "target raft, and this node's is paxos"),
        (("raft", "lock", "n1"), "interface kv, and this node's is lock"),
    ],
)
def test_the_data_of_another_is_refused_and_stays(tmp_path: Path, other: tuple[str, str, str], words: str) -> None:
    claim(tmp_path, *OURS)
    (tmp_path / "wal.log").write_bytes(MAGIC)
    before = contents(tmp_path)
    with pytest.raises(Foreign, match=words):
        claim(tmp_path, *other)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"version":1,"target":"raft"}', b"\xff\xfe", b'{"ver\xffsion":1}', b"[" * 5000]
)
def test_an_owner_that_cannot_be_read_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "owner.json").write_bytes(text)
    with pytest.raises(Foreign, match="does not say whose the data is"):
        claim(tmp_path, *OURS)
    assert contents(tmp_path) == {"owner.json": text}


def test_a_later_version_is_refused_and_its_further_fields_are_no_error(tmp_path: Path) -> None:
    owner = {"version": data_owner.VERSION, "target": "raft", "interface": "kv", "node": "n1", "cluster": "c"}
    (tmp_path / "owner.json").write_bytes(msgspec.json.encode(owner))
    claim(tmp_path, *OURS)
    (tmp_path / "owner.json").write_bytes(msgspec.json.encode({**owner, "version": data_owner.VERSION + 1}))
    with pytest.raises(Foreign, match="the data has version 2"):
        claim(tmp_path, *OURS)


@pytest.mark.parametrize("magic", [MAGIC, CHECKPOINT_MAGIC])
def test_a_log_of_a_later_version_is_refused_whoever_owns_it(tmp_path: Path, magic: bytes) -> None:
    (tmp_path / "wal.log").write_bytes(magic)
    claim(tmp_path, *OURS)
    later = magic.replace(b"log 1", b"log 12")
    for is_owned in (True, False):
        (tmp_path / "wal.log").write_bytes(later)
        if not is_owned:
            (tmp_path / "owner.json").unlink()
        with pytest.raises(Foreign, match="version 12, and this version reads up to 1"):
            claim(tmp_path, *OURS)
        assert (tmp_path / "wal.log").read_bytes() == later


@pytest.mark.parametrize("data", [b"", MAGIC[:10], b"no log at all\n", MAGIC + b"\0\0"])
def test_what_is_wrong_with_a_log_of_this_version_is_left_to_the_log(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "wal.log").write_bytes(data)
    claim(tmp_path, *OURS)
    assert (tmp_path / "wal.log").read_bytes() == data


@pytest.mark.real
def test_a_node_on_the_data_of_another_does_not_start(tmp_path: Path) -> None:
    claim(tmp_path / "data", "raft", "kv", "n7")
    node = RunningNode(tmp_path, free_port(), ["--interface", "kv", "--target", "raft"])
    _, error = node.process.communicate(timeout=30)
    assert node.process.returncode == USAGE
    assert error.decode() == (
        f"themis node: --data-dir {tmp_path / 'data'}: the data is of node n7, and this node's is n1; "
        "give each node a directory of its own\n"
    )
    assert sorted(contents(tmp_path / "data")) == ["owner.json"]
