"""What reads an input of a check without a file."""

import io
from typing import Any

from statuslookup import GreenAPI, SMSFire
from statuslookup.cli.providers import GREENAPI, SMSFIRE
from statuslookup.cli.table.keys import Keys
from statuslookup.cli.table.lines import Lines
from statuslookup.cli.table.rows import Input, Row


def read(content: bytes | str, keys: Keys[Any] = SMSFIRE.keys, **options: Any) -> Input[Any]:
    data = content.encode() if isinstance(content, str) else content
    provider: Any = GreenAPI(1, "t") if keys.is_id is GREENAPI.keys.is_id else SMSFire("t")
    return Input(Lines(io.BytesIO(data).read), keys, provider.check, **options)


def rows(content: bytes | str, keys: Keys[Any] = SMSFIRE.keys, **options: Any) -> list[Row[Any]]:
    return list(read(content, keys, **options).rows)


def keys_of(content: bytes | str, keys: Keys[Any] = SMSFIRE.keys, **options: Any) -> list[Any]:
    return [row.key for row in rows(content, keys, **options)]
