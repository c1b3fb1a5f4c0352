"""Processes that share one rate limit and one queue of keys, on Redis."""
