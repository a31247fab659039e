"""Many runs: sweeps of seeds."""
