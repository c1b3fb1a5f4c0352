"""The documented examples, letter by letter: the bodies parse, and the requests are the ones we send.

Source: SMSFire, "Consulta Status"; GREEN-API, "GetStatusStatistic".
"""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from statuslookup import (
    CustomId,
    DeliveryState,
    GreenAPI,
    MessageKey,
    MessageStatus,
    Receipt,
    Request,
    Response,
    SMSFire,
    StatusStatistic,
)

BRASILIA = timezone(timedelta(hours=-3))

ONE = """\
{
  "instanceToken": "499893c21b1b467970b2n58dcak6009d92d9dscx1",
  "id": 000001,
  "messageType": "TEXT",
  "country": "55",
  "phone": "5511944556677",
  "statusCode": 2,
  "statusName": "DELIVERED",
  "statusDate": "2021-08-06T09:59:02-0300",
  "sentDate": "2021-08-06T09:58:53-0300"
}
"""

MANY = """\
[
  {
    "instanceToken": "499893c21b1b467970b2n58dcak6009d92d9dscx1",
    "id": 0001,
    "messageType": "TEXT",
    "country": "55",
    "phone": "5511944556677",
    "statusCode": 5,
    "statusName": "EXPIRED",
    "statusDate": "2021-08-03T18:18:36-0300",
    "sentDate": "2021-08-03T18:18:33-0300"
  },
  {
    "instanceToken": "499893c21b1b467970b2n58dcak6009d92d9dscx1",
    "id": 00002,
    "customId":"firezap0002",
    "messageType": "TEXT",
    "country": "55",
    "phone": "5511966778899",
    "statusCode": 2,
    "statusName": "DELIVERED",
    "statusDate": "2021-08-03T19:39:01-0300",
    "sentDate": "2021-08-03T19:32:10-0300"
  }
]
"""

GET_BY_ID = "https://api-v2.smsfire.com.br/whatsapp/status/000001"
GET_BY_CUSTOM_ID = "https://api-v2.smsfire.com.br/whatsapp/status/firezap0001"
POST_MANY = "https://api-v2.smsfire.com.br/whatsapp/status/search"
POSTED = '{ "ids": ["0001"],	"customIds":["firezap0002"] }'

STORY = """\
[
    {
        "timestamp": 1587129319,
        "participant": "11001234567@c.us",
        "status": "read",
    },
    {
        "timestamp": 1587129319,
        "participant": "71234567891@c.us",
        "status": "read",
    },
]
"""

GET_STATISTIC = (
    "{{apiUrl}}/waInstance{{idInstance}}/getStatusStatistic/{{apiTokenInstance}}?idMessage=BAE57C4EEC000000"
)

FIRST = MessageStatus(
    id=1,
    instance_token="499893c21b1b467970b2n58dcak6009d92d9dscx1",
    message_type="TEXT",
    country="55",
    phone="5511944556677",
    status_code=2,
    status_name="DELIVERED",
    status_date=datetime(2021, 8, 6, 9, 59, 2, tzinfo=BRASILIA),
    sent_date=datetime(2021, 8, 6, 9, 58, 53, tzinfo=BRASILIA),
    state=DeliveryState.DELIVERED,
)
EXPIRED = MessageStatus(
    id=1,
    instance_token="499893c21b1b467970b2n58dcak6009d92d9dscx1",
    message_type="TEXT",
    country="55",
    phone="5511944556677",
    status_code=5,
    status_name="EXPIRED",
    status_date=datetime(2021, 8, 3, 18, 18, 36, tzinfo=BRASILIA),
    sent_date=datetime(2021, 8, 3, 18, 18, 33, tzinfo=BRASILIA),
    state=DeliveryState.EXPIRED,
)
SECOND = MessageStatus(
    id=2,
    custom_id="firezap0002",
    instance_token="499893c21b1b467970b2n58dcak6009d92d9dscx1",
    message_type="TEXT",
    country="55",
    phone="5511966778899",
    status_code=2,
    status_name="DELIVERED",
    status_date=datetime(2021, 8, 3, 19, 39, 1, tzinfo=BRASILIA),
    sent_date=datetime(2021, 8, 3, 19, 32, 10, tzinfo=BRASILIA),
    state=DeliveryState.DELIVERED,
)


def look_up(keys: list[MessageKey], *bodies: str) -> tuple[list[Request], dict[MessageKey, object]]:
    exchange: Any = SMSFire("token").exchange(keys)
    requests: list[Request] = [next(exchange)]
    for body in bodies:
        try:
            requests.append(exchange.send(Response(200 if body else 204, body.encode())))
        except StopIteration as outcome:
            return requests, dict(outcome.value)
    raise AssertionError("the exchange asked for more")


def url(request: Request) -> str:
    return SMSFire("token").base_url + request.path


@pytest.mark.parametrize("body", [ONE, MANY, STORY])
def test_the_documented_bodies_are_not_json(body: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


def test_one_message_by_id() -> None:
    requests, outcomes = look_up([1], ONE)
    assert outcomes == {1: FIRST}
    assert [request.method for request in requests] == ["GET"]
    assert url(requests[0]) == GET_BY_ID.replace("000001", "1")
    assert requests[0].authorization == "Basic ***"


def test_one_message_by_custom_id() -> None:
    requests, outcomes = look_up(
        [CustomId("firezap0001")], ONE.replace('"messageType"', '"customId":"firezap0001","messageType"')
    )
    assert isinstance(outcomes[CustomId("firezap0001")], MessageStatus)
    assert (requests[0].method, url(requests[0])) == ("GET", GET_BY_CUSTOM_ID)


def test_many_messages() -> None:
    requests, outcomes = look_up([1, CustomId("firezap0002")], MANY)
    assert outcomes == {1: EXPIRED, CustomId("firezap0002"): SECOND}
    request = requests[0]
    assert (request.method, url(request), request.query) == ("POST", POST_MANY, "")
    documented = json.loads(POSTED)
    documented["ids"] = [str(int(id)) for id in documented["ids"]]
    assert json.loads(request.content or b"") == documented


def test_a_list_that_is_not_needed_is_left_out() -> None:
    (ids, *_), outcomes = look_up([1, 2], MANY)
    assert json.loads(ids.content or b"") == {"ids": ["1", "2"]}
    assert outcomes == {1: EXPIRED, 2: SECOND}


def test_a_message_that_is_not_found_is_204_without_a_body() -> None:
    assert look_up([1], "")[1] == {1: None}
    assert look_up([1, CustomId("firezap0002")], "")[1] == {1: None, CustomId("firezap0002"): None}


def look_up_story(body: str) -> tuple[Request, object]:
    exchange = GreenAPI(1101000001, "d75b3a66374942c5b3c019c698abc2067e151558acbd412345").exchange(
        ["BAE57C4EEC000000"]
    )
    request = next(exchange)
    try:
        exchange.send(Response(200, body.encode()))
    except StopIteration as outcome:
        return request, outcome.value["BAE57C4EEC000000"]
    raise AssertionError("the exchange asked for more")


def test_the_statistic_of_one_story() -> None:
    _, statistic = look_up_story(STORY)
    moment = datetime(2020, 4, 17, 13, 15, 19, tzinfo=UTC)
    assert statistic == StatusStatistic(
        id_message="BAE57C4EEC000000",
        receipts=tuple(
            Receipt(participant=participant, timestamp=moment, status="read", state=DeliveryState.READ)
            for participant in ("11001234567@c.us", "71234567891@c.us")
        ),
    )
    assert isinstance(statistic, StatusStatistic)
    assert statistic.counts == {DeliveryState.READ: 2}


def test_the_statistics_participant_may_be_the_array_of_the_table() -> None:
    array = STORY.replace('"11001234567@c.us"', '["11001234567@c.us"]')
    assert look_up_story(array)[1] == look_up_story(STORY)[1]


def test_the_statistics_request_is_the_documented_one() -> None:
    request, _ = look_up_story(STORY)
    documented = (
        GET_STATISTIC.replace("{{apiUrl}}", "")
        .replace("{{idInstance}}", "1101000001")
        .replace("{{apiTokenInstance}}", "***")
    )
    assert (request.method, f"{request.path}?{request.query}") == ("GET", documented)
    assert (request.authorization, request.content) == (None, None)
