"""One rate limit and one queue for the clients of several processes, on Redis or Valkey.

Give each client the fleet: ``StatusClient(SMSFire.from_env(), fleet=RedisFleet("redis://..."))``. It needs
``pip install "statuslookup[fleet]"``.
"""

try:
    from .fleet import RedisFleet
except ImportError as error:
    if error.name is None or error.name.split(".")[0] != "redis":
        raise
    raise ImportError('a fleet needs redis: pip install "statuslookup[fleet]"', name=error.name) from error

__all__ = ["RedisFleet"]

# help(), tracebacks and pickles name the place from which it is imported.
RedisFleet.__module__ = __name__
