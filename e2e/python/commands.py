"""A device that receives commands: reports each with its properties; the SDK acknowledges it by itself.

IOTHUB_DEVICE_CONNECTION_STRING, WEBSOCKETS (set: MQTT over WebSocket on 443). Ends when it is told no more.
"""

import base64
import json
import os
import sys
import threading

from azure.iot.device import IoTHubDeviceClient

speech = threading.Lock()


def report(event, **more):
    with speech:
        print(json.dumps({"event": event, **more}), flush=True)


def command(message):
    report(
        "command",
        bodyBase64=base64.b64encode(message.data).decode(),
        messageId=message.message_id,
        correlationId=message.correlation_id,
        contentType=message.content_type,
        contentEncoding=message.content_encoding,
        userId=message.user_id,
        expiry=message.expiry_time_utc,
        ack=message.ack,
        properties=message.custom_properties,
    )


def connection_changed():
    report("connected" if client.connected else "disconnected")


client = IoTHubDeviceClient.create_from_connection_string(
    os.environ["IOTHUB_DEVICE_CONNECTION_STRING"], websockets="WEBSOCKETS" in os.environ, connection_retry_interval=1
)
client.on_connection_state_change = connection_changed
client.connect()
client.on_message_received = command
report("subscribed")
sys.stdin.read()
client.shutdown()
