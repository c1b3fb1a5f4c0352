"""One webhook of each provider, as documented."""

SMSFIRE_ITEM = {
    "instanceToken": "an instance",
    "id": 1,
    "customId": "firezap0001",
    "messageType": "TEXT",
    "country": "55",
    "phone": "5511944556677",
    "statusCode": 2,
    "statusName": "DELIVERED",
    "statusDate": "2021-08-06T09:59:02-0300",
    "sentDate": "2021-08-06T09:58:53-0300",
}
GREEN_API_ITEM = {
    "typeWebhook": "outgoingMessageStatus",
    "chatId": "79876543210@c.us",
    "instanceData": {"idInstance": 7, "wid": "79876543210@c.us", "typeInstance": "whatsapp"},
    "timestamp": 1586700690,
    "idMessage": "BAE5367237E13A87",
    "status": "read",
    "sendByApi": True,
}
