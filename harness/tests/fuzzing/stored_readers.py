"""The readers under fuzz of what campaigns, stored runs, clusters and nodes keep. See readers.py."""

from __future__ import annotations

import contextlib
import io
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from checkers import Validity, Verdict
from harness.campaign.campaign_file import Campaign, read_campaign
from harness.campaign.findings import findings_of, read_known
from harness.campaign.outcome import Outcome
from harness.campaign.state import CampaignFolder, Saved, Shrunk
from harness.cluster import control
from harness.environments.sim.message_log import LogEntry
from harness.errors import UsageError
from harness.generators import script
from harness.generators.script import Script, ScriptedOp
from harness.report.message_files import FILE, has_messages, missing_note, stored_entries
from harness.spec import RunSpec
from harness.store.runs import Findings, Result, RunDirectory
from histories.printing import harmless
from histories.tracing import segment_name
from targets import data_owner, node_arguments, registry
from targets.raft.records import HardState, Truncate
from targets.target import CoreTarget
from targets.wal import WriteAheadLog

Read = Callable[[Path, bytes], None]

_CAMPAIGN = b"""name: small
budget: 30s
seeds: 1..3
run: {env: sim, time-limit: 2, check-time-limit: 60}
matrix:
  target: [raft, paxos]
  nemesis: ["partition,kill", "loss"]
exclude:
  - {target: raft, nemesis: loss}
known: known.yaml
require: {ok-share: 0.2}
"""
_KNOWN = b"""known:
  - {target: raft, anomaly: "linearizable/*", reason: "bug 42", expires: 2030-01-31}
  - target: "*"
    anomaly: lost
    reason: x
    expires: 2027-12-01
"""
_ARGUMENTS = (
    b"--target raft --interface kv --id n1 --listen 127.0.0.1:9001 --peer n2=127.0.0.1:9002 --data-dir d -o reads=log",
    b"--target gossip --id n1 --listen [::1]:9001 --data-dir d --log-dir l --bug x --seed 3",
)


def _refused(read: Callable[[], object]) -> None:
    """Reads; what is said of a text that is refused does no harm to a terminal."""
    try:
        read()
    except UsageError as error:
        said = str(error)
        assert len(said) < 50_000, len(said)
        assert harmless(said) == said


def _campaign(place: Path, text: bytes) -> None:
    (place / "campaign.yaml").write_bytes(text)
    _refused(lambda: read_campaign(place / "campaign.yaml"))


def _known(place: Path, text: bytes) -> None:
    (place / "known.yaml").write_bytes(text)
    _refused(lambda: read_known(str(place / "known.yaml")))


def _state(place: Path, text: bytes) -> None:
    """The text is all three files of a campaign."""
    folder = CampaignFolder(place / "campaign")
    folder.path.mkdir(exist_ok=True)
    for path in (folder.plan, folder.results, folder.shrunk):
        path.write_bytes(text)
    folder.outcomes()
    folder.shrunk_runs()

    def read() -> None:
        campaign = folder.read()
        findings_of(campaign, [each for each in folder.outcomes() if each.cell < len(campaign.cells)])

    _refused(read)


def _script(place: Path, text: bytes) -> None:
    (place / "script.json").write_bytes(text)
    _refused(lambda: script.load(place / "script.json", 3).generator(final=False))


def _run(place: Path, text: bytes) -> None:
    """The text is each file of a run at once, and its history's header."""
    run = RunDirectory(place / "run")
    (run.nodes / "n1").mkdir(parents=True, exist_ok=True)
    for path in (run.spec, run.schedule, run.verdict, run.findings, run.history, run.nodes / "n1" / "trace.jsonl"):
        path.write_bytes(text)
    assert all(harmless(damage) is not None for damage in run.damages())
    run.read_findings()
    _refused(run.mend_spec)
    for left in run.path.glob("*.damaged"):
        left.unlink()


def _messages(place: Path, text: bytes) -> None:
    """The text is what the simulation kept of its messages, and then what a real node did, in a segment and the file after it."""
    run, node = RunDirectory(place / "simulated"), RunDirectory(place / "real")
    (node.nodes / "n1").mkdir(parents=True, exist_ok=True)
    run.path.mkdir(exist_ok=True)
    for path in (run.path / FILE, node.nodes / "n1" / segment_name(2, 1, "messages"), node.nodes / "n1" / FILE):
        path.write_bytes(text)
    for each in (run, node):
        assert has_messages(each)
        times = [entry.time for entry in stored_entries(each)]
        assert len(times) <= 2 * (text.count(b"\n") + 1)
        missing_note(each)


def _data(place: Path, text: bytes) -> None:
    """The text is the log of a node and what says whose it is."""
    target = registry.find("raft")
    assert isinstance(target, CoreTarget)
    directory = place / "data"
    directory.mkdir(exist_ok=True)
    for left in directory.iterdir():
        left.unlink()
    (directory / "wal.log").write_bytes(text)
    log = WriteAheadLog(directory / "wal.log", target.formats("kv").record)
    assert log.recovery.damage is None or len(log.recovery.damage) < 5_000
    log.close()
    (directory / data_owner.NAME).write_bytes(text)
    with contextlib.suppress(data_owner.Foreign):
        data_owner.claim(directory, "raft", "kv", "n1")


def _log() -> bytes:
    target = registry.find("raft")
    assert isinstance(target, CoreTarget)
    with tempfile.TemporaryDirectory() as directory:
        log = WriteAheadLog(Path(directory, "wal.log"), target.formats("kv").record)
        for number in range(1, 4):
            log.append([msgspec.json.encode(HardState(number, "n1")), msgspec.json.encode(Truncate(number))])
        log.close()
        return Path(directory, "wal.log").read_bytes()


def _arguments(_place: Path, text: bytes) -> None:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(node_arguments.Refusal, SystemExit):
        node_arguments.parse(text.decode(errors="replace").replace("\0", "").split())


def _command(place: Path, text: bytes) -> None:
    """The text is what comes to the socket of a cluster."""
    path = place / "control"
    path.unlink(missing_ok=True)
    listener = control.Listener(path)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            heard = listener.next(5.0)
            if heard is not None:
                heard.answer(control.Answer(said="done"))
    finally:
        listener.close()


def stored_readers() -> Mapping[str, tuple[Sequence[bytes], Read]]:
    """Name -> what is mutated, and what reads it."""
    encode = msgspec.json.encode
    spec = RunSpec(name="a", nodes=("n1", "n2", "n3"))
    outcome = Outcome(cell=0, seed=3, validity=Validity.INVALID, classes=("linearizable/lost",), words="a", run="r")
    campaign = _plan()
    findings = Findings({"nodes": Verdict.valid("nodes")}, interrupted=False)
    header = b'{"themis-history":1,"spec":' + encode(spec) + b"}\n"
    ops = (
        ScriptedOp(time_ns=1, thread=0, f="write", key="a", value=[1, {"b": 2.5}]),
        ScriptedOp(time_ns=9, thread=2, f="read", key="a", is_final=True),
    )
    entry = LogEntry(3, "send", "n1", "n2", "Append", 1)
    return {
        "campaign": ((_CAMPAIGN,), _campaign),
        "known": ((_KNOWN,), _known),
        "campaign-state": (
            (
                encode(Saved(campaign=campaign)),
                encode(outcome) + b"\n" + encode(outcome),
                encode(Shrunk(cell=0, seed=3, run="r", size="5 ops")),
            ),
            _state,
        ),
        "script": ((encode(Script(ops=ops)),), _script),
        "run": (
            (
                encode(spec),
                header,
                encode(findings),
                encode(Result(Verdict.unknown("no reason", "a"), run_id="x", counts={"ok": 1})),
            ),
            _run,
        ),
        "messages": ((encode(entry) + b"\n" + encode(entry),), _messages),
        "node-data": ((_log(), b'{"version":1,"target":"raft","interface":"kv","node":"n1"}'), _data),
        "node-arguments": (_ARGUMENTS, _arguments),
        "cluster-command": ((b'{"verb":"kill","nodes":["n1","n2"]}\n', b'{"verb":"status"}\n'), _command),
    }


def _plan() -> Campaign:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "campaign.yaml")
        path.write_bytes(_CAMPAIGN)
        return read_campaign(path)
