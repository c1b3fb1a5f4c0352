"""A FastAPI service that sends messages, receives SMSFire's webhooks, and knows what became of each."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import FastAPI, HTTPException, Path, Query
from pydantic import BaseModel

from statuslookup import (
    CustomId,
    DeliveryState,
    MessageStatus,
    SMSFire,
    SQLiteStore,
    StatusClient,
    StatusTracker,
    WaitTimeoutError,
)
from statuslookup.webhooks import receiver

Send = Callable[[str, str, CustomId], Awaitable[None]]
CustomIdInPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,40}$")]


class Message(BaseModel):
    phone: str
    text: str


class News(BaseModel):
    state: DeliveryState | None = None
    is_over: bool = False


def create_app(send: Send) -> FastAPI:
    """Return the service; ``send(phone, text, custom_id)`` is your own call of SMSFire's API."""
    client = StatusClient(SMSFire.from_env())
    tracker = StatusTracker(client, store=SQLiteStore(os.environ["TRACKER_FILE"]))
    news: dict[str, News] = {}  # here goes your database

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with client, tracker, asyncio.TaskGroup() as tasks:
            news.update((str(key), News()) for key in tracker.open())
            tasks.create_task(record())
            yield
            await tracker.aclose()  # which ends record()

    async def record() -> None:
        async for change in tracker.changes():
            news[str(change.key)] = News(state=state_of(change.status), is_over=change.is_over)

    app = FastAPI(lifespan=lifespan)
    # SMSFire's CALLBACK and DLR: https://example.com/hooks/smsfire/<the secret>
    app.mount("/hooks/smsfire", receiver(tracker, path_secret=os.environ["STATUSLOOKUP_WEBHOOK_SECRET"]))

    @app.post("/messages/{custom_id}", status_code=202)
    async def send_message(custom_id: CustomIdInPath, message: Message) -> News:
        if custom_id in news:
            raise HTTPException(409, "a customId names one message only")
        news[custom_id] = News()
        key = CustomId(custom_id)
        await tracker.track(key)  # before it is sent: no webhook can come too early, and no crash forgets it
        await send(message.phone, message.text, key)
        return news[custom_id]

    @app.get("/messages/{custom_id}")
    async def read_message(
        custom_id: CustomIdInPath, wait: Annotated[float, Query(gt=0, le=60)] = 30.0
    ) -> News:
        known = news.get(custom_id)
        if known is None:
            raise HTTPException(404, "no such message was sent here")
        if known.is_over:
            return known
        try:
            status = await tracker.wait(CustomId(custom_id), timeout=wait)
        except WaitTimeoutError as error:
            return News(state=state_of(error.last))
        return News(state=state_of(status), is_over=True)

    return app


def state_of(status: MessageStatus | None) -> DeliveryState | None:
    return None if status is None else status.state


async def send(phone: str, text: str, custom_id: CustomId) -> None:
    raise NotImplementedError("here you send, with this customId")


if __name__ == "__main__":
    uvicorn.run(create_app(send))
