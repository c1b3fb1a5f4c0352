"""What the commands tell the shell. It knows no extra, because a missing one has a code, too."""

from ..errors import (
    AuthenticationError,
    FleetError,
    InstanceError,
    QuotaExceededError,
    StatusLookupError,
    StoreError,
)

FAILED = 1
USAGE = 2
REFUSED = 3
USED_UP = 4
UNREACHABLE = 5
INTERRUPTED = 130
TERMINATED = 143

EXIT_CODES = (
    f"Exit codes: 0 all found, {FAILED} some unknown or failed, {USAGE} usage, {REFUSED} credentials,"
    f" instance or fleet refused, {USED_UP} quota used up, {UNREACHABLE} provider or fleet unreachable or"
    f" failing, {INTERRUPTED} interrupted, {TERMINATED} terminated."
)


def exit_code_of(error: StatusLookupError) -> int:
    """Return what the shell is told about an error that ended everything."""
    if isinstance(error, AuthenticationError | InstanceError):
        return REFUSED
    if isinstance(error, FleetError) and error.ends_all:
        # Redis itself refuses what the fleet needs, until somebody changes that.
        return REFUSED
    if isinstance(error, QuotaExceededError):
        return USED_UP
    if isinstance(error, StoreError):
        # It may pass, but it is no provider's.
        return FAILED
    if error.is_transient:
        return UNREACHABLE
    return FAILED


def exit_code_of_end(error: StatusLookupError) -> int:
    """Return what the shell is told about an error that ended a check.

    It is not about one key: where nothing was refused or used up, nobody is answered.
    """
    code = exit_code_of(error)
    return UNREACHABLE if code == FAILED else code
