"""What is tested: sans-IO cores, the real-process node that drives them, and drivers for outside systems."""
