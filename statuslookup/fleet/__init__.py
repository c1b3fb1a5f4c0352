"""One rate limit and one queue for the clients of several processes, on Redis or Valkey."""
