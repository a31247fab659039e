"""Containers: what they may do, what is collected, and what is refused before anything is started."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import docker
import msgspec
import pytest

from harness.clients import node_http
from harness.environments.base import EnvironmentUnavailable
from harness.environments.docker import image
from harness.environments.docker.environment import DockerEnvironment, LeftRun, find_leftovers
from harness.environments.linux.environment import LinuxEnvironment
from harness.environments.real.node_access import http_addresses
from harness.environments.registry import find
from harness.errors import UsageError
from harness.tests import kernel

pytestmark = [pytest.mark.linux, pytest.mark.real, pytest.mark.timeout(300)]


def inspected(environment: LinuxEnvironment) -> list[dict[str, Any]]:
    run_id = environment.deployment.run_id
    client = docker.from_env()
    found = client.containers.list(filters={"label": f"themis.run={run_id}"})
    assert len(found) == len(kernel.NODES)
    return [container.attrs for container in found]


def test_containers_have_no_privilege_but_net_admin_and_no_way_out(tmp_path: Path) -> None:
    with kernel.up("docker", tmp_path, {"memory_mib": "256", "cpus": "0.5"}) as environment:
        for attributes in inspected(environment):
            host = attributes["HostConfig"]
            assert not host["Privileged"]
            assert [name.removeprefix("CAP_") for name in host["CapAdd"]] == ["NET_ADMIN"]
            assert host["CapDrop"] == ["ALL"]
            assert host["SecurityOpt"] == ["no-new-privileges"]
            assert not host["Binds"]
            assert not attributes["Mounts"]
            assert not host["PortBindings"]
            assert host["Memory"] == 256 << 20
            assert host["NanoCpus"] == 500_000_000
        ran = environment.control().run("n1", ["cat", "/proc/self/status"])
        effective = next(line.split()[1] for line in ran.text.splitlines() if line.startswith("CapEff"))
        assert int(effective, 16) == 1 << 12, "CAP_NET_ADMIN is the twelfth"
        networks = docker.from_env().networks.list(
            filters={"label": f"themis.run={environment.deployment.run_id}"}, greedy=True
        )
        assert [network.attrs["Internal"] for network in networks] == [True]
        assert environment.control().run("n1", ["ls", "/var/run/docker.sock"]).exit_code


def test_containers_that_are_left_running_are_found_and_removed_later(tmp_path: Path) -> None:
    before = kernel.traces()
    environment = kernel.environment("docker", tmp_path, {"leave_running": "true"})
    assert isinstance(environment, DockerEnvironment)
    run_id = environment.deployment.run_id
    environment.up()
    environment.collect()
    environment.down()
    assert sum(line.startswith("container") for line in kernel.traces() - before) == len(kernel.NODES)
    assert sorted(node_http.ask_statuses(http_addresses(environment.addresses))) == sorted(kernel.NODES), (
        "the nodes still serve"
    )
    # This process lives, so that they are not leftovers yet.
    assert run_id not in {left.run_id for left in find_leftovers()}
    assert LeftRun(run_id, (), (), True).remove() is None
    assert not kernel.leaked(before)


def test_logs_of_a_container_that_stopped_are_collected_too(tmp_path: Path) -> None:
    environment = kernel.environment("docker", tmp_path)
    try:
        environment.up()
        client = docker.from_env()
        label = f"themis.run={environment.deployment.run_id}"
        (stopped,) = client.containers.list(filters={"label": label, "name": "-n2"})
        stopped.kill()
        stopped.wait()
        environment.collect()
    finally:
        environment.down()
    for node in kernel.NODES:
        assert "listens on" in (tmp_path / "nodes" / node / "node.log").read_text()


def test_a_target_of_the_users_own_runs_without_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "their_target.py").write_text(
        "from targets.raft.target import RaftTarget\n"
        "from targets.command import node_argv\n"
        "class Theirs(RaftTarget):\n"
        "    name = 'theirs'\n"
        "    def argv(self, place, options, bugs, interface):\n"
        "        return node_argv('their_target:TARGET', place, options, bugs, interface)\n"
        "TARGET = Theirs()\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "code")
    target = importlib.import_module("their_target").TARGET
    for name in kernel.ENVIRONMENTS:
        environment = kernel.environment(name, tmp_path / name, target=target)
        try:
            environment.up()
            assert {status["target"] for status in environment.statuses().values()} == {"theirs"}
        finally:
            environment.down()
    sys.modules.pop("their_target")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image": "no-such-image-anywhere:1"}, "no image no-such-image-anywhere"),
        ({"subnet": "172.17.0.0/16"}, "overlaps"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_started(
    tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(EnvironmentUnavailable, match=message):
        kernel.environment("docker", tmp_path, options).check()


def test_too_many_nodes_are_refused(tmp_path: Path) -> None:
    environment = kernel.environment("docker", tmp_path)
    deployment = msgspec.structs.replace(environment.deployment, nodes=tuple(f"n{i}" for i in range(10)))
    with pytest.raises(EnvironmentUnavailable, match="1 to 9"):
        find("docker")(deployment).check()


def test_no_engine_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EnvironmentUnavailable, match=r"apt-get install docker\.io"):
        kernel.environment("docker", tmp_path).check()
    assert find_leftovers() == []
    refused = kernel.themis("test", "--env", "docker", "--store", tmp_path / "store")
    assert refused.returncode == 254
    assert "no Docker engine answers" in refused.stderr


@pytest.mark.parametrize("options", [{"data_mib": "1"}, {"memory_mib": "3"}, {"cpus": "-1"}, {"sbunet": "10.0.0.0/24"}])
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="env docker option"):
        kernel.environment("docker", tmp_path, options)


def test_the_image_is_built_once(capsys: pytest.CaptureFixture[str]) -> None:
    client = docker.from_env()
    said: list[str] = []
    name = image.ensure(client, said.append)
    assert not said
    assert name == image.wanted()
    assert image.find(client, name)
