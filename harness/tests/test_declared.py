"""What a target declares wrongly (of a wrong type, missing, empty) is refused when it is loaded: by name, with what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.run import plan
from harness.tests.command import themis_process
from harness.tests.outside import OutsideTarget
from harness.workloads import registry as workloads
from harness.workloads.base import Workload
from harness.workloads.register import RegisterWorkload
from targets import registry
from targets.declared import require
from targets.target import Bug, CoreTarget, FaultModel, Program

KILL: Any = "kill"
KILLS: Any = ["kill"]
BUG = Bug("odd", "it is odd", "an odd read")


class NoGroup(str):
    """A string of a class of its own is a string."""


def program(**changes: object) -> Any:
    """A Program with these members changed."""
    return type("Mine", (OutsideTarget,), changes)()


WRONG: list[tuple[dict[str, object], str]] = [
    ({"bugs": ["odd"]}, "bugs is ['odd'] (list); it must be Mapping[str, targets.target.Bug]"),
    ({"bugs": {"odd": "it is odd"}}, "bugs['odd'] is 'it is odd' (str); it must be targets.target.Bug"),
    ({"bugs": {3: BUG}}, "the key of bugs[3] is 3 (int); it must be str"),
    (
        {"bugs": {"odd": Bug("odd", "", "", KILL)}},
        "bugs['odd'].exposed_by is 'kill' (str); it must be tuple[str, ...]",
    ),
    ({"bugs": None}, "bugs is None; it must be Mapping"),
    ({"name": ""}, "name is '' (str); it must not be empty"),
    ({"name": 3}, "name is 3 (int); it must be str"),
    ({"option_type": dict}, "it must be type[msgspec.Struct]"),
    ({"interfaces": frozenset()}, "interfaces is frozenset() (frozenset); it must not be empty"),
    ({"interfaces": ["kv"]}, "interfaces is ['kv'] (list); it must be frozenset[str]"),
    ({"interfaces": frozenset({1})}, "an element of interfaces is 1 (int); it must be str"),
    ({"fault_model": "kill"}, "fault_model is 'kill' (str); it must be targets.target.FaultModel"),
    (
        {"fault_model": FaultModel(survives=KILLS)},
        "fault_model.survives is ['kill'] (list); it must be frozenset[str]",
    ),
    ({"fault_model": FaultModel(frozenset(), KILL)}, "fault_model.down_nodes_max is 'kill' (str); it must be float"),
    ({"ports": "client"}, "it must be Sequence[str]; a tuple of one string is ('client',)"),
    ({"ports": ()}, "ports is () (tuple); it must not be empty"),
    ({"modes": [{"reads": "quorum"}, 3]}, "modes[1] is 3 (int); it must be Mapping[str, Any]"),
    ({"version": "("}, "version is '(' (str); it must be a regular expression"),
    ({"log_alarms": ["panic", "["]}, "log_alarms[1] is '[' (str); it must be a regular expression"),
    ({"up_timeout_s": True}, "up_timeout_s is True (bool); it must be float"),
    ({"asks_libc_for_time": "no"}, "asks_libc_for_time is 'no' (str); it must be bool"),
    ({"commands": {"kv": {"read": 1}}}, "commands['kv'] is {'read': 1} (dict); it must be frozenset[str]"),
    ({"argv": ["etcd"]}, "argv is ['etcd'] (list); it must be a method"),
    ({"container_capabilities": "SETUID"}, "container_capabilities is 'SETUID' (str); it must be Sequence[str]"),
    ({"interfaces": property(lambda self: self.no_such)}, "for it lacks interfaces"),
    ({"interfaces": property(lambda self: 1 / 0)}, "interfaces raises ZeroDivisionError: division by zero"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said[:40] for _, said in WRONG])
def test_what_a_target_declares_wrongly_is_said_by_name(
    changes: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.tests.outside.TARGET", program(**changes))
    with pytest.raises(ValueError, match=r"\A.+\Z") as raised:
        registry.find("harness.tests.outside:TARGET")
    assert said in str(raised.value)
    with pytest.raises(UsageError, match=r"^the target harness\.tests\.outside:TARGET cannot be loaded: "):
        plan.find_target("harness.tests.outside:TARGET")


def test_a_class_is_no_target_but_an_object_of_it_is() -> None:
    with pytest.raises(ValueError, match=r"it is the class OutsideTarget; .* such as OutsideTarget\(\)"):
        registry.find("harness.tests.outside:OutsideTarget")


def test_any_mapping_set_and_sequence_of_the_right_parts_will_do() -> None:
    changes = {"bugs": {NoGroup("odd"): BUG}, "interfaces": {"kv"}, "ports": ["client", "peer"], "up_timeout_s": 3}
    require(program(**changes), Program)


def test_every_target_and_workload_of_the_project_is_as_it_declares() -> None:
    kinds = {name: registry.find(name) for name in registry.names()}
    assert {isinstance(target, CoreTarget) for target in kinds.values()} == {True, False}
    for name in workloads.names():
        workloads.find(name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "name is None; it must be str"),
        ({"interface": ""}, "interface is '' (str); it must not be empty"),
        ({"data_type": 3}, "data_type is 3 (int); it must be str"),
        ({"option_type": 3}, "option_type is 3 (int); it must be a subclass of msgspec.Struct"),
        ({"generator": 3}, "generator is 3 (int); it must be a method"),
        ({"checkers": [3]}, "checkers[0] is 3 (int); it must be harness.workloads.claims.ClaimChecker"),
        ({"commands": {"read"}}, "commands is {'read'} (set); it must be Callable"),
    ],
)
def test_what_a_workload_declares_wrongly_is_said_by_name(changes: dict[str, object], said: str) -> None:
    workload = type("Mine", (RegisterWorkload,), changes)()
    with pytest.raises(ValueError, match=r"\A.+\Z") as raised:
        require(workload, Workload, workloads.OPTIONAL)
    assert said in str(raised.value)


def test_the_command_refuses_it_in_one_message(tmp_path: Path) -> None:
    text = "from harness.tests.outside import OutsideTarget\nclass Mine(OutsideTarget):\n    bugs = ['odd']\nTARGET = Mine()\n"
    (tmp_path / "mine.py").write_text(text)
    ended = themis_process("test", "--target", "mine:TARGET", "--env", "local", cwd=tmp_path)
    assert ended.returncode == 254
    assert ended.stderr == (
        "themis: the target mine:TARGET cannot be loaded: bugs is ['odd'] (list); it must be Mapping[str, targets.target.Bug]\n"
    )
