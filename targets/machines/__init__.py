"""State machines that cores replicate: deterministic, without I/O, the same commands giving the same answers."""
