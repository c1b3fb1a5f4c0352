"""Spans of OpenTelemetry for lookups, and for the requests that carry them."""

import asyncio
from collections.abc import Iterable

from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

from statuslookup import CustomId, MessageStatus, SMSFire, StatusClient

Key = int | CustomId
Client = StatusClient[Key, MessageStatus]

tracer = trace.get_tracer("my_bot")


async def get(client: Client, key: Key) -> MessageStatus | None:
    with tracer.start_as_current_span("get status", attributes={"message.key": str(key)}) as span:
        status = await client.get(key)
        span.set_attribute("message.found", status is not None)
        if status is not None:
            span.set_attribute("message.state", status.state.value)
        return status


async def get_many(client: Client, keys: Iterable[Key]) -> dict[Key, MessageStatus | None]:
    with tracer.start_as_current_span("get statuses") as span:
        wanted = list(keys)
        span.set_attribute("messages.asked", len(wanted))
        statuses = await client.get_many(wanted)
        span.set_attribute("messages.found", sum(status is not None for status in statuses.values()))
        return statuses


async def main() -> None:
    async with StatusClient(SMSFire.from_env()) as client:
        await get(client, 42)
        await get_many(client, range(1, 301))


if __name__ == "__main__":
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter()))
    trace.set_tracer_provider(provider)
    HTTPXClientInstrumentor().instrument()
    asyncio.run(main())
