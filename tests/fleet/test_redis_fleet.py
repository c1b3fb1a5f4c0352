"""What a client is given: a value that shows no password, and says what is wrong before anything is sent."""

import subprocess
import sys
import traceback
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from statuslookup import GreenAPI, RateLimit, SMSFire, StatusClient, TokenBucket
from statuslookup.fleet import RedisFleet
from tests.support.fakes import Tens

URL = "redis://lookups:canary-password@redis.example:6380/3"


def test_it_shows_where_redis_is_and_no_password() -> None:
    fleet = RedisFleet(URL, name="egress-2")
    assert repr(fleet) == "<RedisFleet 'egress-2' at redis.example:6380/3>"
    assert (fleet.name, fleet.lease) == ("egress-2", 2.0)
    assert "canary" not in repr(vars(fleet))


def test_from_env_reads_one_variable() -> None:
    fleet = RedisFleet.from_env({"STATUSLOOKUP_FLEET": URL}, lease=5)
    assert (repr(fleet), fleet.lease) == ("<RedisFleet 'default' at redis.example:6380/3>", 5.0)
    for environ in ({}, {"STATUSLOOKUP_FLEET": ""}):
        with pytest.raises(ValueError, match="set STATUSLOOKUP_FLEET to the URL"):
            RedisFleet.from_env(environ)


def test_from_env_reads_the_processs_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUSLOOKUP_FLEET", URL)
    assert "redis.example" in repr(RedisFleet.from_env())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"redis": "http://redis"}, ValueError, "redis://"),
        ({"redis": "redis://:canary/pass@host:1"}, ValueError, "%2F"),
        pytest.param(
            {"redis": "rediss://:canary@host:1?ssl_cert_reqs=never"},
            ValueError,
            "rediss://",
            marks=pytest.mark.skipif(
                int(redis.__version__.split(".")[0]) < 6, reason="redis-py 5 sees it when it connects"
            ),
        ),
        ({"redis": ""}, ValueError, "redis://"),
        ({"redis": 7}, TypeError, "redis.asyncio"),
        ({"redis": Redis}, TypeError, "redis.asyncio"),
        ({"name": ""}, ValueError, "name must be"),
        ({"name": "a\nb"}, ValueError, "name must be"),
        ({"name": "x" * 101}, ValueError, "name must be"),
        ({"name": None}, TypeError, "name is a str"),
        ({"lease": 0.1}, ValueError, "lease must be 0.5"),
        ({"lease": 61}, ValueError, "lease must be"),
        ({"lease": "2"}, TypeError, "lease is a number"),
    ],
    ids=str,
)
def test_a_bad_argument_is_refused(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        RedisFleet(**{"redis": URL, **arguments})
    assert "canary" not in str(caught.value)
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    # The first one is this test's own.
    assert "canary" not in repr(frames[1:])


def test_a_client_takes_a_limiter_or_a_fleet() -> None:
    fleet = RedisFleet(URL)
    with pytest.raises(ValueError, match="limiter or fleet, not both"):
        StatusClient(SMSFire("t"), fleet=fleet, limiter=TokenBucket(RateLimit(2)))
    for wrong in (URL, RedisFleet, object()):
        with pytest.raises(TypeError, match=r"statuslookup\.fleet\.RedisFleet"):
            StatusClient(SMSFire("t"), fleet=wrong)  # type: ignore[arg-type] # that is what is tested


def test_a_provider_whose_keys_cannot_travel_is_refused() -> None:
    with pytest.raises(TypeError, match="key_to_text, key_from_text, answer_to_json, answer_from_json"):
        StatusClient(Tens(), fleet=RedisFleet(URL))


def test_a_budget_that_is_no_plain_value_is_refused() -> None:
    class Own(SMSFire):
        @property
        def budget(self) -> Any:
            return object()

    with pytest.raises(TypeError, match=r"provider\.budget"):
        StatusClient(Own("t"), fleet=RedisFleet(URL))


def test_one_fleet_serves_several_clients_of_both_providers() -> None:
    fleet = RedisFleet(URL)
    clients = [StatusClient(SMSFire("t"), fleet=fleet), StatusClient(SMSFire("u"), fleet=fleet)]
    assert len(clients) == 2
    StatusClient(GreenAPI(1101, "t"), fleet=fleet)


def test_the_package_loads_no_redis_and_the_fleet_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "import statuslookup\n"
        "try:\n    import statuslookup.fleet\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == 'a fleet needs redis: pip install "statuslookup[fleet]"'
