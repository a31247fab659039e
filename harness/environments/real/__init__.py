"""What environments of real processes share, wherever the processes are."""
