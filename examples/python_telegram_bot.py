"""A Telegram bot with python-telegram-bot that answers /status."""

import os
from typing import Any, TypeAlias

from telegram import Update
from telegram.ext import Application, ApplicationBuilder, CommandHandler, ContextTypes

from statuslookup import CustomId, MessageStatus, SMSFire, StatusClient, StatusLookupError

# The spelling of python-telegram-bot's generic classes for a type checker, with its own defaults.
Bot: TypeAlias = Application[Any, Any, Any, Any, Any, Any]
BotBuilder: TypeAlias = ApplicationBuilder[Any, Any, Any, Any, Any, Any]


async def status(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    statuses: StatusClient[int | CustomId, MessageStatus] = context.bot_data["statuses"]
    key = " ".join(context.args or [])
    try:
        found = await statuses.get(int(key) if key.isdecimal() else CustomId(key))
    except ValueError:
        answer = "Please write /status 42 or /status firezap0001."
    except StatusLookupError as error:
        answer = f"Sorry, I cannot find out at the moment. {error}"
    else:
        answer = f"{key} is {found.state}." if found else f"SMSFire does not know {key}."
    if update.effective_message is not None:  # a command always is a message
        await update.effective_message.reply_text(answer)


async def open_client(application: Bot) -> None:
    application.bot_data["statuses"] = StatusClient(SMSFire.from_env())


async def close_client(application: Bot) -> None:
    if statuses := application.bot_data.get("statuses"):  # none, if the bot could not start
        await statuses.aclose()


def build(builder: BotBuilder) -> Bot:
    builder.token(os.environ["TELEGRAM_TOKEN"]).concurrent_updates(True)
    application = builder.post_init(open_client).post_shutdown(close_client).build()
    application.add_handler(CommandHandler("status", status))
    return application


if __name__ == "__main__":
    build(Application.builder()).run_polling()
