"""The Lua scripts, as Redis is asked for them."""

import hashlib
from importlib.resources import files

from attrs import field, frozen

_FOLDER = files("statuslookup.fleet") / "lua"


@frozen
class Script:
    """A script that Redis runs in one step, known to it by a hash."""

    name: str
    text: str = field(repr=False)
    sha: str = field(repr=False)

    @classmethod
    def read(cls, name: str) -> "Script":
        """Return the script of a file; all begin with the same lines, about the slot."""
        return cls.of(name, "".join((_FOLDER / f"{file}.lua").read_text("utf-8") for file in ("slot", name)))

    @classmethod
    def of(cls, name: str, text: str) -> "Script":
        # What Redis calls a script: no secret depends on it.
        return cls(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


TAKE = Script.read("take")
DONE = Script.read("done")
