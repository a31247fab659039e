"""Campaign files: which runs they mean, and in which line they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaign.campaign_file import Campaign, read_campaign
from harness.campaign.findings import read_known
from harness.campaign.flags import FLAGS, flags_of, spec_of_flags
from harness.campaign.starting_file import STARTING_FILE
from harness.cli import run as commands
from harness.cli import run_command
from harness.errors import UsageError
from harness.spec import RunSpec
from harness.zoo.registry import PLANTED


def read(tmp_path: Path, text: str) -> Campaign:
    path = tmp_path / "campaign.yaml"
    path.write_text(text, encoding="utf-8")
    return read_campaign(path)


def test_the_starting_file_is_a_campaign(tmp_path: Path) -> None:
    campaign = read(tmp_path, STARTING_FILE)
    assert campaign.name == "nightly"
    assert campaign.budget_s == 600
    assert campaign.seeds == (1, 1000)
    assert len(campaign.cells) == 3 * 2 * 2 - 2 + 2
    assert campaign.require.unknown_share == 0.02


def test_each_with_each_but_for_what_is_excluded_and_then_what_is_included(tmp_path: Path) -> None:
    campaign = read(
        tmp_path,
        """
        seeds: 7..8
        run: {time-limit: 5, target-option: {check_quorum: false}}
        matrix:
          workload: [register, queue]
          nodes: [3, "a,b,c,d,e"]
          nemesis: ["partition,kill", none]
        exclude: [{workload: queue, nodes: 3}, {nemesis: none, workload: register}]
        include: [{nodes: 1, bug: [stale-read], rate: 10}]
        """,
    )
    told = [(cell.spec.workload, len(cell.spec.nodes), cell.spec.nemesis) for cell in campaign.cells]
    assert told == [
        ("register", 3, ("partition", "kill")),
        ("register", 5, ("partition", "kill")),
        ("queue", 5, ("partition", "kill")),
        ("queue", 5, ()),
        ("register", 1, ()),
    ]
    last = campaign.cells[-1]
    assert (last.title, last.spec.bugs, last.spec.rate_hz) == ("nodes 1, bug stale-read, rate 10", ("stale-read",), 10)
    assert {cell.spec.env for cell in campaign.cells} == {"sim"}
    assert all(cell.spec.target_options == {"check_quorum": False} for cell in campaign.cells)
    assert all(cell.spec.concurrency == 2 * len(cell.spec.nodes) for cell in campaign.cells)
    assert list(campaign.tasks())[:6] == [(0, 7), (1, 7), (2, 7), (3, 7), (4, 7), (0, 8)]


def test_flags_say_all_of_a_spec() -> None:
    odd = RunSpec(
        env="netns", env_options={"proxy": True}, target="gossip", target_options={"mode": "causal"}, bugs=("lost-tombstone",),
        workload="shared-sets", workload_options={"keys": 3}, consistency="causal", checkers=("durability",),
        nemesis=("kill", "loss"), interval_s=0.7, fault_share=0.3, calm_share=0.2, beyond_model=True, nodes=("a", "b"),
        concurrency=7, rate_hz=3.5, time_limit_s=4.0, quiet_s=0.0, client_timeout_s=0.3, vacuity={"ok_min": 3}, check_states=9,
        check_time_limit_s=2.0,
    )  # fmt: skip
    for spec in (RunSpec(env="sim"), odd, *(planted.scenario.spec(0, planted.bug) for planted in PLANTED)):
        assert spec_of_flags(flags_of(spec)) == spec


@pytest.mark.long
def test_the_file_of_the_zoo_has_every_bug_and_expects_each(tmp_path: Path) -> None:
    path = tmp_path / "zoo.yaml"
    run_command(["campaign", "init", "--zoo", str(path)])
    campaign = read_campaign(path)
    bugs = [(cell.spec.target, cell.spec.bugs[0]) for cell in campaign.cells if cell.spec.bugs]
    assert bugs == [(planted.target, planted.bug) for planted in PLANTED]
    assert {cell.spec.target for cell in campaign.cells if not cell.spec.bugs} == {target for target, _ in bugs}
    assert [known.target for known in read_known(campaign.known)] == [f"{target}+{bug}" for target, bug in bugs]


def test_every_flag_is_one_of_the_test_command() -> None:
    assert set(FLAGS) <= {name[2:] for parameter in commands.test.params for name in parameter.opts if name[:2] == "--"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1: the file is empty"),
        ("[1]", "line 1, column 1: keys with values are due"),
        ("nam: x", "line 1, column 1: unknown key 'nam'; did you mean 'name'?"),
        ("name: x\nrun:\n  targt: raft\n", "line 3, column 3: unknown key 'targt'; did you mean 'target'?"),
        ("name: x\nmatrix:\n  workload: register\n", "line 2, column 1: Expected `array`, got `str`"),
        ("matrix:\n  workload: [register, regster]\n", "line 2, column 24: workload regster: unknown workload 'regster'"),
        ("matrix: {nodes: []}", "nodes: no value is given"),
        ("matrix:\n  nemesis: [late]\n  env: [local]\n", "line 2, column 13"),
        ("matrix:\n  nemesis: [late]\n  env: [local]\n", "reorder, slow); environments that can"),
        ("run: {rate: fast}", "rate: 'fast' is no number"),
        ("run: {rate: }", "rate: an empty value is no number"),
        ("run: {rate: 1" + 400 * "0" + "}", "0000 is too large"),
        ("run: {check-states: [1]}", "check-states: [1] is no whole number"),
        ("run: {vacuity: {ok: }}", "vacuity: ok: an empty value is no whole number"),
        ("run: {swarm: 1}", "swarm: 1 is neither true nor false"),
        ("run: {beyond-model: 'true'}", "beyond-model: 'true' is neither true nor false"),
        ("run: {target-option: [a]}", "target-option: names with values are due"),
        ("include: [{nodes: 100}]", "line 1, column 11: nodes 100: --nodes 100"),
        ("a: 1\na: 2\n", "line 2, column 1: a stands here twice"),
        ("a: [1\nb: 2\n", "line 2, column 2"),
        ("1: x", "the key 1 is no word"),
        ("name: ''", "an empty name is no folder name"),
        ("name: x\nseeds: 5..1", "line 2, column 1: --seeds '5..1': the range is reversed"),
        ("name: x\nbudget: soon", "line 2, column 1: budget 'soon': write a whole number with its unit"),
        ("name: x\nshrink: soon", "line 2, column 1: shrink 'soon': write a whole number with its unit"),
        ("require: {ok-share: 2}", "ok-share: 2.0 is no share from 0 to 1"),
        ("require: {ok: 1}", "line 1, column 1"),
        ("name: latest", "a link of the store"),
        ("name: ../x", "cannot be a folder name"),
        ("keep: -1", "keep, jobs and enough are not negative"),
        ("enough: -1", "keep, jobs and enough are not negative"),
        ("matrix: {nodes: [3]}\nexclude: [{nodes: 3}]", "exclude takes every combination away"),
        ("x: " + "[" * 900, "campaign.yaml"),
        ("a: &a [1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e]\n", "more than 100000 values"),
        ("name: \x00", "campaign.yaml"),
        ("name: '\x1b[31m'", "campaign.yaml"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line_before_anything_runs(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        read(tmp_path, text)
    assert said in str(raised.value)
    assert "\x1b" not in str(raised.value)
