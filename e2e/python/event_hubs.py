"""The Event Hubs client of the scripts beside this file, and how they say what they read.

EVENTHUB_CONNECTION_STRING, SSL_CERT_FILE; GROUP ($Default), TRANSPORT (amqp, or ws for a WebSocket).
"""

import json
import os
import threading
from datetime import datetime, timezone

from azure.eventhub import EventHubConsumerClient, TransportType

speech = threading.Lock()


def report(event, **more):
    with speech:
        print(json.dumps({"event": event, **more}), flush=True)


def consumer(**options):
    transport = TransportType.AmqpOverWebsocket if os.environ.get("TRANSPORT") == "ws" else TransportType.Amqp
    return EventHubConsumerClient.from_connection_string(
        os.environ["EVENTHUB_CONNECTION_STRING"],
        consumer_group=os.environ.get("GROUP", "$Default"),
        connection_verify=os.environ["SSL_CERT_FILE"],
        transport_type=transport,
        **options,
    )


def position(wanted):
    """An offset as a string, a sequence number as an integer, a time as {"time": milliseconds since 1970}."""
    return datetime.fromtimestamp(wanted["time"] / 1000, timezone.utc) if isinstance(wanted, dict) else wanted


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def described(context, event):
    last = context.last_enqueued_event_properties or {}
    return {
        "partition": int(context.partition_id),
        "sequenceNumber": event.sequence_number,
        "offset": event.offset,
        "enqueued": round(event.enqueued_time.timestamp() * 1000),
        "device": text(event.system_properties.get(b"iothub-connection-device-id")),
        "contentType": event.content_type,
        "messageId": event.message_id,
        "properties": {text(name): text(value) for name, value in (event.properties or {}).items()},
        "body": event.body_as_str(),
        "lastEnqueued": last.get("sequence_number"),
    }
