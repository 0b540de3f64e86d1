"""A device sends the messages of a file, one after another, each when the one before is acknowledged.

IOTHUB_DEVICE_CONNECTION_STRING, MESSAGES (a JSON file), WEBSOCKETS (set: MQTT over WebSocket on 443).
"""

import base64
import json
import os

from azure.iot.device import IoTHubDeviceClient, Message

client = IoTHubDeviceClient.create_from_connection_string(
    os.environ["IOTHUB_DEVICE_CONNECTION_STRING"], websockets="WEBSOCKETS" in os.environ
)
with open(os.environ["MESSAGES"]) as file:
    samples = json.load(file)
client.connect()
for sample in samples:
    message = Message(
        base64.b64decode(sample["bodyBase64"]),
        message_id=sample.get("messageId"),
        content_type=sample.get("contentType"),
        content_encoding=sample.get("contentEncoding"),
    )
    message.correlation_id = sample.get("correlationId")
    message.custom_properties = sample["properties"]
    client.send_message(message)
    print(json.dumps({"sent": sample["name"]}))
client.shutdown()
