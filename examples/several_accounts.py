"""Several accounts in one process, each with a client of its own."""

import asyncio
import os
from contextlib import AsyncExitStack

from statuslookup import CustomId, GreenAPI, SMSFire, StatusClient


def environment_of(account: str) -> dict[str, str]:
    """Return what is set for one account: SHOP_SMSFIRE_TOKEN is the SMSFIRE_TOKEN of SHOP."""
    prefix = f"{account}_"
    return {name.removeprefix(prefix): text for name, text in os.environ.items() if name.startswith(prefix)}


async def main() -> None:
    async with AsyncExitStack() as stack:
        smsfire = {
            account: await stack.enter_async_context(StatusClient(SMSFire.from_env(environment_of(account))))
            for account in ("SHOP", "SUPPORT")
        }
        green_api = {
            account: await stack.enter_async_context(StatusClient(GreenAPI.from_env(environment_of(account))))
            for account in ("NORTH", "SOUTH")
        }
        answers = await asyncio.gather(
            smsfire["SHOP"].get(42),
            smsfire["SUPPORT"].get(CustomId("firezap0001")),
            green_api["NORTH"].get("BAE57C4EEC000000"),
            green_api["SOUTH"].get("BAE57C4EEC000001"),
        )
        for answer in answers:
            print(answer)


if __name__ == "__main__":
    asyncio.run(main())
