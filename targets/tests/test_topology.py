"""Roles and shards of nodes."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from targets.topology import PLAIN, Topology

SHARDED = Topology(
    role_by_node={"n1": "coordinator", "n3": "replica", "n2": "replica"},
    shard_by_node={"n2": "s1", "n3": "s2", "n5": "s2", "n4": "s1"},
)


def test_nodes_by_role_and_by_shard_are_sorted() -> None:
    assert SHARDED.roles == ("coordinator", "replica")
    assert SHARDED.nodes_of_role("replica") == ("n2", "n3")
    assert SHARDED.shards == ("s1", "s2")
    assert SHARDED.nodes_of_shard("s2") == ("n3", "n5")


def test_a_role_or_shard_that_nobody_has_has_no_nodes() -> None:
    assert SHARDED.nodes_of_role("witness") == ()
    assert SHARDED.nodes_of_shard("s9") == ()


def test_a_plain_cluster_has_no_roles_and_no_shards() -> None:
    assert PLAIN.roles == PLAIN.shards == ()
    assert PLAIN.shard_of("a key") is None


def test_every_shard_gets_keys_and_a_key_always_the_same_shard() -> None:
    by_key = {key: SHARDED.shard_of(key) for key in range(100)}
    assert set(by_key.values()) == {"s1", "s2"}
    turned = Topology(shard_by_node={"n9": "s2", "n1": "s1"})
    assert by_key == {key: turned.shard_of(key) for key in range(100)}, "only the shards' names count"


def test_equal_json_values_have_equal_shards() -> None:
    assert SHARDED.shard_of((1, "a")) == SHARDED.shard_of([1, "a"])
    assert SHARDED.shard_of({"a": 1, "b": 2}) == SHARDED.shard_of({"b": 2, "a": 1})


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_gives_the_same_shards(hash_seed: str) -> None:
    code = (
        "from targets.topology import Topology\n"
        "sharded = Topology(shard_by_node={'n1': 's1', 'n2': 's2', 'n3': 's3'})\n"
        "print(''.join(sharded.shard_of(f'key {number}')[1] for number in range(20)))\n"
    )
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = Topology(shard_by_node={"n1": "s1", "n2": "s2", "n3": "s3"})
    assert told.stdout.strip() == "".join((here.shard_of(f"key {number}") or "")[1] for number in range(20))


def test_it_survives_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(SHARDED), type=Topology) == SHARDED


@pytest.mark.parametrize("names", [{"n1": ""}, {"": "coordinator"}])
def test_an_empty_name_is_refused(names: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="has an empty name"):
        Topology(role_by_node=names)
    with pytest.raises(ValueError, match="has an empty name"):
        Topology(shard_by_node=names)
