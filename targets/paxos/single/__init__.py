"""The single-decree protocol (PMS §2), once for each key; every node is proposer, acceptor and learner."""
