"""Paxos: Lamport, "Paxos Made Simple", 2001 ("PMS"), as sans-IO cores: the single decree, and Multi-Paxos on top of its rules.

What both share stands here: ballots, quorums and the bug zoo. Nothing outside this package uses them.
"""
