"""A Discord bot with discord.py that answers /status."""

import os
from typing import Any

import discord
from discord import app_commands

from statuslookup import CustomId, SMSFire, StatusClient, StatusLookupError


class StatusBot(discord.Client):
    def __init__(self, **options: Any) -> None:
        super().__init__(intents=discord.Intents.default(), **options)
        self.statuses = StatusClient(SMSFire.from_env())  # opens with the first lookup
        self.tree = app_commands.CommandTree(self)
        self.tree.add_command(status)

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def close(self) -> None:
        await self.statuses.aclose()
        await super().close()


@app_commands.command(description="What became of a message")
async def status(interaction: discord.Interaction[StatusBot], key: str) -> None:
    await interaction.response.defer()
    try:
        found = await interaction.client.statuses.get(int(key) if key.isdecimal() else CustomId(key))
    except ValueError:
        answer = "Please write /status 42 or /status firezap0001."
    except StatusLookupError as error:
        answer = f"Sorry, I cannot find out at the moment. {error}"
    else:
        answer = f"{key} is {found.state}." if found else f"SMSFire does not know {key}."
    await interaction.followup.send(answer)


if __name__ == "__main__":
    StatusBot().run(os.environ["DISCORD_TOKEN"])
