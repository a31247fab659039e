"""How fast the linearizability checker is: histories by construction, a grid of them, medians and peak memory."""
