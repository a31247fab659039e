"""What the clients do, and what their history is checked for."""
