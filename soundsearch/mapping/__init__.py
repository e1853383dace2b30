"""Clips in the plane: near each other where they sound alike."""
