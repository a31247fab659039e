"""A key-value store that takes reads and writes on every node, also alone, and whose nodes agree later (Demers et al. 1987)."""
