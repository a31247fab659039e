"""A machine and a workload of a stranger: what the tests add by one registry line each, and nothing else (test_machines.py)."""
