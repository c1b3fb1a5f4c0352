"""The counts of every client as Prometheus metrics."""

import asyncio
import os
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import REGISTRY, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from statuslookup import SMSFire, StatusClient

METRICS = (
    (CounterMetricFamily, "lookups", "lookups", "Keys that were asked for."),
    (CounterMetricFamily, "coalesced", "coalesced_lookups", "Lookups that joined a key already asked for."),
    (CounterMetricFamily, "requests", "requests", "Requests that were sent."),
    (CounterMetricFamily, "keys_sent", "sent_keys", "Keys that were asked for, once for each attempt."),
    (CounterMetricFamily, "retries", "retried_keys", "Keys that were put back to be asked again."),
    (CounterMetricFamily, "rejections", "rejected_requests", "Requests that were answered 429."),
    (CounterMetricFamily, "told", "told_keys", "Keys whose outcomes another process of a fleet brought."),
    (CounterMetricFamily, "seconds_paced", "paced_seconds", "Seconds that requests waited for their turn."),
    (GaugeMetricFamily, "queued", "queued_keys", "Keys that wait to be sent."),
    (GaugeMetricFamily, "in_flight", "in_flight_keys", "Keys whose request is under way."),
)


class StatusLookupCollector(Collector):
    def __init__(self, clients: Mapping[str, StatusClient[Any, Any]]) -> None:
        self.clients = clients

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        stats = {account: client.stats() for account, client in self.clients.items()}
        for kind, field, name, documentation in METRICS:
            family = kind(f"statuslookup_{name}", documentation, labels=["account"])
            for account, counts in stats.items():
                family.add_metric([account], getattr(counts, field))
            yield family


async def main() -> None:
    async with StatusClient(SMSFire.from_env()) as client:
        REGISTRY.register(StatusLookupCollector({"shop": client}))
        start_http_server(int(os.environ.get("METRICS_PORT", "8000")))
        while True:
            await client.get_many(range(1, 301))  # here your bot does its work
            await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(main())
