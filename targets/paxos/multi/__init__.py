"""Multi-Paxos (PMS §3): a log of slots, each decided by Paxos, with one phase 1 for all slots of a leader."""
