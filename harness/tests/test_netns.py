"""Namespaces: what is refused before anything is started."""

from __future__ import annotations

import os
import shutil
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from harness.environments.base import EnvironmentUnavailable
from harness.environments.netns import network
from harness.environments.netns.environment import find_leftovers
from harness.errors import UsageError
from harness.tests import kernel


def test_without_root_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: f"/usr/sbin/{command}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(EnvironmentUnavailable, match="need root: run it with sudo"):
        kernel.environment("netns", tmp_path).check()


@pytest.mark.parametrize(
    ("command", "package"), [("ip", "iproute2"), ("iptables", "iptables"), ("nsenter", "util-linux")]
)
def test_without_a_command_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, package: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda wanted: None if wanted == command else f"/usr/sbin/{wanted}")
    with pytest.raises(EnvironmentUnavailable, match=f"{command} is not installed: apt-get install {package}"):
        kernel.environment("netns", tmp_path).check()


@pytest.mark.parametrize(
    "options", [{"subnet": "8.8.8.0/24"}, {"subnet": "fd00::/64"}, {"data_mib": "9999999"}, {"x": "1"}]
)
def test_bad_options_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="env netns option"):
        kernel.environment("netns", tmp_path, options)


@pytest.mark.linux
@pytest.mark.real
def test_an_address_range_in_use_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with kernel.up("netns", tmp_path / "first", {"subnet": "10.213.99.0/24"}):
        with pytest.raises(EnvironmentUnavailable, match=r"10\.213\.99\.0/24.*--env-option subnet"):
            kernel.environment("netns", tmp_path, {"subnet": "10.213.96.0/20"}).check()
        refused = kernel.themis("test", "--env", "netns", "-e", "subnet=10.213.99.0/24", "--store", tmp_path / "store")
        assert refused.returncode == 254
        assert "in use" in refused.stderr
        # Without a wish there is always another one.
        with kernel.up("netns", tmp_path / "second") as second:
            assert not any(host.startswith("10.213.99.") for host in second.hosts.values())


@pytest.mark.linux
@pytest.mark.real
def test_a_fault_that_the_kernel_lacks_is_refused_before_the_run(tmp_path: Path) -> None:
    environment = kernel.environment("netns", tmp_path)
    environment.check()
    missing = {"slow", "reorder", "corrupt"} - environment.cluster.packets.kinds
    for kind in sorted(missing):
        refused = kernel.themis("test", "--env", "netns", "--nemesis", kind, "--store", tmp_path / "store")
        assert refused.returncode == 254
        assert kind in refused.stderr
    assert environment.cluster.packets.kinds >= {"loss"}


@pytest.mark.linux
@pytest.mark.real
def test_a_half_made_network_is_removed(tmp_path: Path) -> None:
    before = kernel.traces()
    network.create("0000000", "1:1@1", "half", IPv4Network("10.213.250.0/24"), 3)
    try:
        # Its label is of a controller that cannot be looked up from here, and so it is let be.
        assert "th0000000" not in {left.bridge for left in find_leftovers()}
    finally:
        assert network.remove("0000000") == []
    assert network.remove("0000000") == []
    assert not kernel.leaked(before)
