"""How far a request is."""

from collections.abc import Callable


class Progress:
    """Whether a request's connection is being made, and whether one was."""

    def __init__(self) -> None:
        self.is_connecting = False
        self.has_connected = False
        self.when_connected: Callable[[], object] | None = None
