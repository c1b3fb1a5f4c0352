"""A FastAPI service of several worker processes that share one rate limit, and each other's requests."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Path, Request
from fastapi.responses import JSONResponse

from statuslookup import CustomId, FleetError, MessageStatus, SMSFire, StatusClient, StatusLookupError
from statuslookup.fleet import RedisFleet

Client = StatusClient[int | CustomId, MessageStatus]


class State(TypedDict):
    client: Client


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    # This runs in each worker, after it was started: each has a client, and all are one fleet.
    async with StatusClient(SMSFire.from_env(), timeout=10.0, fleet=RedisFleet.from_env()) as client:
        yield {"client": client}


app = FastAPI(lifespan=lifespan)


def get_client(request: Request) -> Client:
    client: Client = request.state.client
    return client


TheClient = Annotated[Client, Depends(get_client)]


@app.get("/messages/{id}")
async def read_message(id: Annotated[int, Path(ge=0, lt=10**40)], client: TheClient) -> dict[str, Any]:
    status = await client.get(id)
    if status is None:
        raise HTTPException(404, "SMSFire does not know this message")
    return {"id": status.id, "state": status.state, "worker": os.getpid()}


@app.get("/stats")
async def read_stats(client: TheClient) -> dict[str, Any]:
    stats = client.stats()
    return {"worker": os.getpid(), "lookups": stats.lookups, "requests": stats.requests, "told": stats.told}


@app.exception_handler(StatusLookupError)
async def answer_without_status(request: Request, error: StatusLookupError) -> JSONResponse:
    what = "Redis" if isinstance(error, FleetError) else "SMSFire"
    return JSONResponse({"detail": f"{what} cannot be asked now"}, 503 if error.is_transient else 502)


if __name__ == "__main__":
    uvicorn.run("examples.fleet_fastapi:app", workers=4)
