"""The database: the only room with SQL.

Functions here never commit; the step that calls them owns the transaction. Each
takes a connection and plain values, and is named for what it promises.
"""
