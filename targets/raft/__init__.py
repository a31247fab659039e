"""Raft: Ongaro and Ousterhout, In Search of an Understandable Consensus Algorithm, 2014 ("Raft"), and Ongaro's thesis
of the same year ("thesis"), as a sans-IO core."""
