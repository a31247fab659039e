"""Puts it together: the command, the controller, generators, interpreter, workloads, environments, store and report."""
