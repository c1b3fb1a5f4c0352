"""How far a story of GREEN-API is: which news of it count."""

from datetime import UTC, datetime

from ..._model import FAILED_RANK, RANKS, DeliveryState, Receipt, StatusStatistic

MOST_RECEIPTS = 10_000
"""Several times as many as WhatsApp lets a story have recipients: what is said of more is not believed."""
_NEVER = datetime.min.replace(tzinfo=UTC)


def keys_of(status: StatusStatistic) -> list[str]:
    if not isinstance(status, StatusStatistic):
        raise TypeError(f"a status of GREEN-API is a StatusStatistic, not {type(status).__name__}")
    return [status.id_message]


def advance(known: StatusStatistic | None, status: StatusStatistic) -> StatusStatistic | None:
    if known is None:
        known = StatusStatistic(id_message=status.id_message)
    receipts = {receipt.participant: receipt for receipt in known.receipts}
    told = set()
    for receipt in status.receipts:
        if not receipt.participant:
            # A webhook that names nobody would be a recipient whom no lookup ever tells of.
            continue
        told.add(receipt.participant)
        earlier = receipts.get(receipt.participant)
        if earlier is None and len(receipts) >= MOST_RECEIPTS:
            # Or else whoever has the path of the webhooks could fill the memory by them.
            continue
        if earlier is None or _progress(receipt) > _progress(earlier):
            receipts[receipt.participant] = receipt
    # Only a list of all recipients says that those who could not be read can be now.
    problems = status.problems if told.issuperset(receipts) else known.problems or status.problems
    united = StatusStatistic(
        id_message=known.id_message, receipts=tuple(receipts.values()), problems=problems
    )
    return None if united == known else united


def reached(status: StatusStatistic, until: DeliveryState) -> bool:
    ranks = [RANKS[receipt.state] for receipt in status.receipts]
    wanted = RANKS[until]
    return (
        bool(ranks) and not status.problems and all(rank == FAILED_RANK or rank >= wanted for rank in ranks)
    )


def _progress(receipt: Receipt) -> tuple[int, datetime, str]:
    # The state's name decides between two failures of one second: which of them came first must not.
    return RANKS[receipt.state], receipt.timestamp or _NEVER, receipt.state
