"""The rules, pure: no clock, no network, no database, no randomness of their own.

Start with `states` (the two state machines), then `decisions` (what an answer of
the platform means for a job) and `moves` (the value that carries a decision to
the store).
"""
