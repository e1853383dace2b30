"""Helpers for tests; importable because pytest puts the folder of conftest.py on the path."""
