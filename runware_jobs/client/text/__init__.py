"""Text while it is written: server-sent events."""
