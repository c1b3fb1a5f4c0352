"""Who shares what in Redis: the names of a budget's slot and of an account's queue, and its MAC key."""

import hashlib
import json
import os
from collections.abc import Hashable
from typing import Final

from attrs import field, frozen

from .._wire import Secret

_PREFIX: Final = "statuslookup:"
_PROTOCOL: Final = 1
_ACCOUNT_BYTES: Final = 8
_MAC_KEY_BYTES: Final = 32
_MOST_KEPT: Final = 64
# Only this process can make the digests by which it finds what it has derived before.
_PEPPER: Final = os.urandom(32)
_derived: dict[bytes, bytes] = {}


@frozen
class Identity:
    """The names of what one account's processes share, and the key that their messages are signed with.

    No token can be found out from them: guessing one takes as long as ``scrypt`` makes it take.
    """

    slot: str
    """The hash of the budget's slot, which all accounts of the budget share, whatever their release."""
    alive: str
    """The sorted set of the budget's processes, by the ends of their leases."""
    queue: str
    """The sorted set of the keys that the account's processes wait for."""
    turns: str
    """The channel that says when the slot is taken and free."""
    outcomes: str
    """The channel that says what became of the account's keys."""
    mac_key: bytes = field(repr=False)

    @classmethod
    def of(cls, name: str, budget: Hashable, *, provider: str, base_url: str, secret: Secret) -> "Identity":
        """Return what the fleet ``name`` shares of a budget and an account; the first time takes 40 ms.

        The budget has to be a text, a number, ``None``, or a tuple of such: another process must come to the
        same name.
        """
        shared = _digest([name, _plain(budget)])
        derived = _derive(secret, salt=_digest([provider, base_url]))
        account = derived[:_ACCOUNT_BYTES].hex()
        # What stands in braces is all that Redis Cluster looks at, so everything lies on one node.
        slot = f"{_PREFIX}{{{shared[:16]}}}"
        queue = f"{slot}:{_PROTOCOL}:{account}"
        return cls(
            slot=slot,
            alive=f"{slot}:alive",
            queue=queue,
            turns=f"{slot}:turns",
            outcomes=f"{queue}:outcomes",
            mac_key=derived[_ACCOUNT_BYTES:],
        )


def _plain(budget: object) -> object:
    """Return what JSON can write, the same in every process."""
    if budget is None or isinstance(budget, str | int | float):
        return budget
    if isinstance(budget, tuple):
        return [_plain(part) for part in budget]
    raise TypeError(
        "in a fleet, provider.budget is a str, a number, None, or a tuple of such, so that all processes"
        f" give it the same name; not {type(budget).__name__}"
    )


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def _derive(secret: Secret, *, salt: str) -> bytes:
    # The secret goes from one call straight into the next, so that no frame here holds it.
    kept_as = hashlib.blake2b(secret.reveal().encode(), key=_PEPPER, salt=bytes.fromhex(salt[:32])).digest()
    derived = _derived.get(kept_as)
    if derived is None:
        derived = hashlib.scrypt(
            secret.reveal().encode(),
            salt=salt.encode(),
            n=2**14,
            r=8,
            p=1,
            dklen=_ACCOUNT_BYTES + _MAC_KEY_BYTES,
        )
        if len(_derived) >= _MOST_KEPT:
            _derived.pop(next(iter(_derived)), None)
        _derived[kept_as] = derived
    return derived
