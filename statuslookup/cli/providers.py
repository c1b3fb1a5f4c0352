"""The providers as the command line knows them: one entry each. Needs no extra."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

from attrs import frozen

from .._model import (
    AnswerT,
    CustomId,
    DeliveryState,
    KeyT,
    MessageKey,
    MessageStatus,
    StatusStatistic,
)
from ..providers import GreenAPI, Provider, SMSFire
from .table import columns
from .table.keys import Keys, undressed, whole_number

if TYPE_CHECKING:
    from ..sandbox import Campaign, Sandbox

_CUSTOM = "custom:"
# What the messages of the command ``sandbox`` became, in turn.
_INVENTED_STATES = (
    DeliveryState.READ,
    DeliveryState.DELIVERED,
    DeliveryState.SENT,
    DeliveryState.PENDING,
    DeliveryState.UNDELIVERED,
    DeliveryState.EXPIRED,
    DeliveryState.REJECTED,
)


@frozen
class Line:
    """One line of the table that ``get`` shows."""

    state: DeliveryState
    status: str
    since: datetime | None
    recipient: str


@frozen(kw_only=True, eq=False)
class Entry(Generic[KeyT, AnswerT]):
    """All that the command line knows of one provider. As a text, it is its word."""

    word: str
    """What it is called on the command line."""
    alias: str | None = None
    """Another word for it, which is understood and not shown."""
    brand: str
    make: Callable[..., Provider[KeyT, AnswerT]]
    """Makes it from an environment and options of its class, or raises a ``ValueError`` that says why not."""
    variables: str
    """The variables of the environment that it is made from, in words."""
    url_option: str
    """The option that says where it is; its parameter is an option of the class, too."""
    url_help: str
    keys: Keys[KeyT]
    keys_by_name: Keys[KeyT] | None = None
    """How keys are written with ``--custom-ids``; ``None`` where there is no such thing."""
    key_in_words: str
    columns: columns.Columns[AnswerT]
    lines_of: Callable[[AnswerT], Iterable[Line]]
    """Returns the lines of an answer; none if nothing is known."""
    invented: str
    """What the command ``sandbox`` has for people who try the provider, in words."""
    invent: "Callable[[Sandbox, int, bool], None]"
    """Adds that to a sandbox: so many messages, with the rate limit or without."""
    trial: Sequence[str]
    """Commands that ask for it, of which the first one leads the others there.

    ``{url}`` is where the sandbox is, ``{messages}`` how many there are.
    """
    send: "Callable[[Campaign, int], object] | None" = None
    """Sends the message of a number, which lives from then on; ``None`` if all stay as they are invented."""
    trial_of_webhooks: str = ""
    """The command that tracks what lives; ``{place}`` is where it listens, ``{secret}`` the path there."""

    @property
    def url_parameter(self) -> str:
        return self.url_option.removeprefix("--").replace("-", "_")

    def __str__(self) -> str:
        return self.word


# --- SMSFire --------------------------------------------------------------------------------------


def _id(text: str) -> int:
    id = whole_number(text)
    if id is None:
        raise ValueError(f"an id is digits, and this is {text[:60]!r}")
    return id


def _is_id(text: str) -> bool:
    try:
        return whole_number(text) is not None
    except ValueError:
        return False


def _custom_id(text: str) -> CustomId:
    return CustomId(undressed(text))


def _id_or_custom_id(text: str, *, digits_are_ids: bool = True) -> tuple[str, MessageKey]:
    if digits_are_ids and (id := whole_number(text)) is not None:
        return "id", id
    return "custom_id", _custom_id(text.removeprefix(_CUSTOM))


def _id_or_marked_custom_id(text: str) -> tuple[str, MessageKey]:
    if not text.startswith(_CUSTOM) and whole_number(text) is None:
        raise ValueError(f"{text[:60]!r} is no id; a customId is written {_CUSTOM}{text[:60]}")
    return _id_or_custom_id(text)


def _smsfire_keys(*, digits_are_ids: bool = True) -> Keys[MessageKey]:
    return Keys(
        columns={"id": _id, "customid": _custom_id, "custom_id": _custom_id},
        shown_columns=("id", "customId", "custom_id"),
        in_line=partial(_id_or_custom_id, digits_are_ids=digits_are_ids),
        of_argument=_id_or_marked_custom_id,
        column_of=lambda key: "custom_id" if isinstance(key, CustomId) else "id",
        column_of_bad="custom_id",
        is_id=_is_id,
    )


def _line_of_status(status: MessageStatus) -> list[Line]:
    words = (str(part) for part in (status.status_code, status.status_name) if part is not None)
    return [Line(status.state, " ".join(words), status.status_date, status.phone or "")]


def _invent_messages(sandbox: "Sandbox", messages: int, _: bool) -> None:
    for id in range(1, messages + 1):
        state = _INVENTED_STATES[id % len(_INVENTED_STATES)]
        sandbox.add_message(id, custom_id=_invented_custom_id(id), state=state)


def _send_message(campaign: "Campaign", id: int) -> None:
    campaign.send(id, custom_id=_invented_custom_id(id))


def _invented_custom_id(id: int) -> str:
    return f"campaign-{id:06d}"


SMSFIRE: Entry[MessageKey, MessageStatus] = Entry(
    word="smsfire",
    brand="SMSFire",
    make=SMSFire.from_env,
    variables="SMSFIRE_TOKEN, or SMSFIRE_USER and SMSFIRE_PASSWORD",
    url_option="--base-url",
    url_help="Where SMSFire is.",
    keys=_smsfire_keys(),
    keys_by_name=_smsfire_keys(digits_are_ids=False),
    key_in_words=f"SMSFire's id, or {_CUSTOM} and a customId",
    columns=columns.SMSFIRE,
    lines_of=_line_of_status,
    invented="ids from 1, customIds campaign-000001 and so on",
    invent=_invent_messages,
    trial=(
        "export SMSFIRE_TOKEN=sandbox SMSFIRE_URL={url}",
        f"statuslookup get smsfire 1 {_CUSTOM}campaign-000002",
        "seq {messages} | statuslookup check smsfire -",
    ),
    send=_send_message,
    trial_of_webhooks=(
        "seq {messages} | STATUSLOOKUP_WEBHOOK_SECRET={secret} statuslookup watch smsfire - --listen {place}"
    ),
)


# --- GREEN-API ------------------------------------------------------------------------------------


# As WhatsApp makes them.
_WHATSAPP_ID = re.compile("[0-9A-F]{10,}")


def _id_message(text: str) -> tuple[str, str]:
    return "id_message", undressed(text)


def _lines_of_story(statistic: StatusStatistic) -> list[Line]:
    return [
        Line(receipt.state, receipt.status or "", receipt.timestamp, receipt.participant)
        for receipt in statistic.receipts
    ]


def _invent_stories(sandbox: "Sandbox", _: int, has_limit: bool) -> None:
    instance = sandbox.add_instance() if has_limit else sandbox.add_instance(rate_limit=None)
    sent, delivered, read = DeliveryState.SENT, DeliveryState.DELIVERED, DeliveryState.READ
    for number in range(1, 11):
        instance.add_statistic(f"STORY{number:02d}", *[read] * number, delivered, *[sent] * (number % 3))


GREENAPI: Entry[str, StatusStatistic] = Entry(
    word="greenapi",
    alias="green",
    brand="GREEN-API",
    make=GreenAPI.from_env,
    variables="GREEN_API_ID_INSTANCE, GREEN_API_TOKEN and GREEN_API_URL",
    url_option="--api-url",
    url_help="Where GREEN-API is; else it is GREEN_API_URL.",
    keys=Keys(
        columns={"idmessage": undressed, "id_message": undressed, "id": undressed},
        shown_columns=("idMessage", "id_message", "id"),
        in_line=_id_message,
        of_argument=_id_message,
        column_of=lambda _: "id_message",
        column_of_bad="id_message",
        is_id=lambda text: _WHATSAPP_ID.fullmatch(undressed(text)) is not None,
    ),
    key_in_words="GREEN-API's idMessage",
    columns=columns.GREENAPI,
    lines_of=_lines_of_story,
    invented="ten stories of GREEN-API, STORY01 to STORY10",
    invent=_invent_stories,
    trial=(
        "export GREEN_API_ID_INSTANCE=1101000001 GREEN_API_TOKEN=sandbox GREEN_API_URL={url}",
        "statuslookup get greenapi STORY01",
    ),
)


ENTRIES: Sequence[Entry[Any, Any]] = (SMSFIRE, GREENAPI)
