"""Known answers of PostgreSQL: what its documentation promises of each level of isolation, of commits, and of standbys."""

from __future__ import annotations

from harness.bench.known_answer import Row, known_answer

DOCS = "https://www.postgresql.org/docs/15/"
LEVELS = DOCS + "transaction-iso.html"
READ_COMMITTED = LEVELS + "#XACT-READ-COMMITTED"
REPEATABLE_READ = LEVELS + "#XACT-REPEATABLE-READ"
SERIALIZABLE = LEVELS + "#XACT-SERIALIZABLE"
ASYNC_COMMIT = DOCS + "wal-async-commit.html"
SYNCHRONOUS = DOCS + "warm-standby.html#SYNCHRONOUS-REPLICATION"
FAILOVER = DOCS + "warm-standby-failover.html"
HOT_STANDBY = DOCS + "hot-standby.html#HOT-STANDBY-USERS"

ONE, TWO = ("n1",), ("n1", "n2")
CRASHES = ("kill", "pause")

POSTGRES: tuple[Row, ...] = (
    known_answer(
        "postgres-register",
        "valid",
        "one server: a commit that was acknowledged survives a crash",
        DOCS + "wal-reliability.html",
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
    ),
    known_answer(
        "postgres-power",
        "valid",
        "one server: what was acknowledged is on the disk",
        DOCS + "wal-reliability.html",
        nodes=ONE,
        nemesis=("kill", "disk:lose-unsynced"),
        interval_s=10.0,
    ),
    known_answer(
        "postgres-bank",
        "valid",
        "serializable transactions act as if one ran after another",
        SERIALIZABLE,
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
        workload="bank",
    ),
    known_answer(
        "postgres-append",
        "valid",
        "serializable transactions act as if one ran after another",
        SERIALIZABLE,
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
        workload="txn-append",
    ),
    known_answer(
        "postgres-registers",
        "valid",
        "serializable transactions act as if one ran after another",
        SERIALIZABLE,
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
        workload="txn-register",
    ),
    known_answer(
        "postgres-append-repeatable-read",
        "valid",
        "repeatable read is implemented by snapshot isolation",
        REPEATABLE_READ,
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
        workload="txn-append",
        target_options={"isolation": "repeatable-read"},
    ),
    known_answer(
        "postgres-append-read-committed",
        "valid",
        "read committed: no query sees what was not committed",
        READ_COMMITTED,
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
        workload="txn-append",
        target_options={"isolation": "read-committed"},
    ),
    known_answer(
        "postgres-bank-repeatable-read",
        "valid",
        "repeatable read: who writes what another changed meanwhile is rolled back",
        REPEATABLE_READ,
        nodes=ONE,
        nemesis=CRASHES,
        interval_s=10.0,
        workload="bank",
        target_options={"isolation": "repeatable-read"},
    ),
    known_answer(
        "postgres-bank-read-committed",
        "invalid",
        "read committed: two commands of a transaction may see different data, so that one overwrites what it never read",
        READ_COMMITTED,
        nodes=ONE,
        workload="bank",
        target_options={"isolation": "read-committed"},
        consistency="snapshot-isolation",
    ),
    known_answer(
        "postgres-write-skew",
        "invalid",
        "repeatable read does not make sure that a serial order explains all transactions",
        REPEATABLE_READ,
        nodes=ONE,
        rate_hz=0.0,
        workload="write-skew",
        workload_options={"groups": 1},
        target_options={"isolation": "repeatable-read"},
        consistency="serializable",
    ),
    known_answer(
        "postgres-write-skew-serializable",
        "valid",
        "serializable: one of two such transactions is rolled back",
        SERIALIZABLE,
        nodes=ONE,
        rate_hz=0.0,
        workload="write-skew",
        workload_options={"groups": 1},
    ),
    known_answer(
        "postgres-async-commit",
        "invalid",
        "synchronous_commit=off: a crash may lose the latest commits that were acknowledged",
        ASYNC_COMMIT,
        nodes=ONE,
        nemesis=("kill",),
        target_options={"synchronous_commit": "off"},
    ),
    known_answer(
        "postgres-bank-standby",
        "valid",
        "a commit waits until the standby has it; where nobody is promoted, the primary alone answers",
        SYNCHRONOUS,
        nodes=TWO,
        nemesis=("partition", *CRASHES),
        interval_s=10.0,
        workload="bank",
    ),
    known_answer(
        "postgres-sync-promote",
        "valid",
        "a commit waits until the standby has it, so that a standby that is promoted has lost none",
        SYNCHRONOUS,
        nodes=TWO,
        nemesis=("kill",),
        interval_s=10.0,
        target_options={"failover": "promote"},
    ),
    known_answer(
        "postgres-async-promote",
        "invalid",
        "asynchronous replication: what the standby has not received is lost; and nothing here fences the old primary",
        FAILOVER,
        nodes=TWO,
        nemesis=("partition",),
        interval_s=8.0,
        target_options={"replication": "async", "failover": "promote", "failover_s": 1},
    ),
    known_answer(
        "postgres-standby-reads",
        "invalid",
        "a standby's data is that of the primary with some delay",
        HOT_STANDBY,
        nodes=TWO,
        nemesis=("partition",),
        target_options={"replication": "async", "reads": "home"},
    ),
    known_answer(
        "postgres-rate",
        "valid",
        "20 clients, no faults",
        SERIALIZABLE,
        nodes=ONE,
        env="netns",
        concurrency=20,
        rate_hz=0.0,
    ),
)
