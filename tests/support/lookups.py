"""Lookups at a sandbox through both providers, for transports of every make."""

from statuslookup import DeliveryState, GreenAPI, SMSFire, StatusClient
from statuslookup._http import Transport
from statuslookup.sandbox import Sandbox

STORY = "BAE57C4EEC000000"


def new_sandbox() -> Sandbox:
    sandbox = Sandbox(rate_limit=None)
    sandbox.add_message(1, state=DeliveryState.DELIVERED)
    sandbox.add_instance(rate_limit=None).add_statistic(STORY, DeliveryState.READ)
    return sandbox


async def look_up_at_both(base_url: str, transport: Transport | None = None) -> None:
    """Look messages and a story up at the sandbox that the transport leads to."""
    message_provider = SMSFire("sandbox", base_url=base_url, rate_limit=None)
    async with StatusClient(message_provider, transport=transport) as smsfire:
        found = await smsfire.get_many([1, 2])
        assert found[1] is not None
        assert found[1].state is DeliveryState.DELIVERED
        assert found[2] is None
    story_provider = GreenAPI(1101000001, "sandbox", api_url=base_url, rate_limit=None)
    async with StatusClient(story_provider, transport=transport) as green_api:
        statistic = await green_api.get(STORY)
        assert statistic is not None
        assert [receipt.state for receipt in statistic.receipts] == [DeliveryState.READ]
