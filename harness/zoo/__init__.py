"""The bug zoo as the simulation meets it: for each planted bug a scenario that shows it, and a seed. One file a system."""
