"""`themis new`: writes a target that runs at once, for somebody to replace part by part with a system of their own."""
