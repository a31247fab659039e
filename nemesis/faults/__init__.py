"""The built-in faults, one module a kind: each applies, heals, measures, plans, and checks the values of its ops."""
