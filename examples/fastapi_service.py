"""A FastAPI service that answers for messages, and takes in SMSFire's webhooks."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, TypedDict

import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from statuslookup import (
    CustomId,
    DecodeError,
    DeliveryState,
    LookupTimeoutError,
    MessageStatus,
    RateLimitedError,
    ServerError,
    SMSFire,
    StatusClient,
    StatusLookupError,
    TransportError,
)

logger = logging.getLogger("messages")
Client = StatusClient[int | CustomId, MessageStatus]


class State(TypedDict):
    client: Client


class Message(BaseModel):
    id: int
    state: DeliveryState
    status_date: datetime | None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    async with StatusClient(SMSFire.from_env(), timeout=10.0) as client:
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


def get_client(request: Request) -> Client:
    client: Client = request.state.client
    return client


@app.get("/messages/{id}", response_model=Message)
async def read_message(
    id: Annotated[int, Path(ge=0, lt=10**40)], client: Annotated[Client, Depends(get_client)]
) -> MessageStatus:
    status = await client.get(id)
    if status is None:
        raise HTTPException(404, "SMSFire does not know this message")
    return status


@app.exception_handler(StatusLookupError)
async def answer_without_status(request: Request, error: StatusLookupError) -> JSONResponse:
    logger.warning("no status for %s: %s", request.url.path, error)
    match error:
        case LookupTimeoutError():
            code, detail = 504, "SMSFire did not answer in time"
        case RateLimitedError() | ServerError() | TransportError():
            code, detail = 503, "SMSFire cannot answer now: ask again later"
        case _:
            code, detail = 502, "SMSFire could not be asked"
    return JSONResponse({"detail": detail}, code)


@app.post("/webhooks/smsfire")
async def receive_webhook(request: Request, background: BackgroundTasks) -> None:
    background.add_task(take_in, await request.body())


async def take_in(body: bytes) -> None:
    try:
        statuses = SMSFire.parse_webhook(body)
    except DecodeError as error:
        logger.error("a webhook of %d bytes cannot be read: %s", len(body), error)
        return
    for status in statuses:
        logger.info("message %d is %s", status.id, status.state)  # here it goes to your database


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvicorn.run(app)
