"""A Telegram bot with aiogram that answers /status."""

import asyncio
import os

from aiogram import Bot, Dispatcher, Router
from aiogram.filters import Command, CommandObject
from aiogram.types import Message

from statuslookup import CustomId, MessageStatus, SMSFire, StatusClient, StatusLookupError

router = Router()


@router.message(Command("status"))
async def status(
    message: Message, command: CommandObject, statuses: StatusClient[int | CustomId, MessageStatus]
) -> None:
    key = command.args or ""
    try:
        found = await statuses.get(int(key) if key.isdecimal() else CustomId(key))
    except ValueError:
        answer = "Please write /status 42 or /status firezap0001."
    except StatusLookupError as error:
        answer = f"Sorry, I cannot find out at the moment. {error}"
    else:
        answer = f"{key} is {found.state}." if found else f"SMSFire does not know {key}."
    await message.answer(answer)


async def main(bot: Bot) -> None:
    dispatcher = Dispatcher()
    dispatcher.include_router(router)
    async with bot, StatusClient(SMSFire.from_env()) as statuses:
        await dispatcher.start_polling(bot, statuses=statuses)


if __name__ == "__main__":
    asyncio.run(main(Bot(os.environ["TELEGRAM_TOKEN"])))
