"""Sequential specifications: what an object may answer when its operations happen one at a time."""
