"""A Telegram bot with aiogram that says when a message was read: /read firezap0001."""

import asyncio
import os
from datetime import UTC, datetime, timedelta

from aiogram import Bot, Dispatcher, Router
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

from statuslookup import (
    ClosedError,
    CustomId,
    DeliveryState,
    MessageStatus,
    SMSFire,
    StatusClient,
    StatusTracker,
    WaitTimeoutError,
)

router = Router()
LONGEST_WAIT = 24 * 3600.0


@router.message(Command("read"))
async def read(
    message: Message, command: CommandObject, tracker: StatusTracker[int | CustomId, MessageStatus]
) -> None:
    text = command.args or ""
    try:
        key = int(text) if text.isdecimal() else CustomId(text)
        # It was sent a while ago, so it is looked up at once.
        await tracker.track(key, until=DeliveryState.READ, since=datetime.now(UTC) - timedelta(minutes=1))
        await message.answer(f"You will hear from me when {key} is read.")
        status = await tracker.wait(key, until=DeliveryState.READ, timeout=LONGEST_WAIT)
    except ValueError:
        answer = "Please write /read 42 or /read firezap0001."
    except WaitTimeoutError as error:
        answer = f"{text} was not read in a day. It is {error.last.state if error.last else 'unknown'}."
    except ClosedError:
        return  # the bot stops
    else:
        answer = f"{text} is {status.state}." if status else f"SMSFire does not know {text}."
    await message.answer(answer)


async def main(bot: Bot) -> None:
    dispatcher = Dispatcher()
    dispatcher.include_router(router)
    async with bot, StatusClient(SMSFire.from_env()) as client, StatusTracker(client) as tracker:
        await dispatcher.start_polling(bot, tracker=tracker)


if __name__ == "__main__":
    asyncio.run(main(Bot(os.environ["TELEGRAM_TOKEN"])))
