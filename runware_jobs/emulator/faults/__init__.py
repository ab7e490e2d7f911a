"""Faults on demand: what can go wrong, when it does, and what it does to messages and connections."""
