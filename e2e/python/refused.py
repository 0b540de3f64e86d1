"""A device tries to connect and to send one message, and reports what became of it.

IOTHUB_DEVICE_CONNECTION_STRING or SAS_TOKEN; PAYLOAD_BYTES (default 2); WEBSOCKETS.
"""

import json
import os

from azure.iot.device import IoTHubDeviceClient, Message

options = {"websockets": "WEBSOCKETS" in os.environ, "connection_retry": False}
if "SAS_TOKEN" in os.environ:
    client = IoTHubDeviceClient.create_from_sastoken(os.environ["SAS_TOKEN"], **options)
else:
    client = IoTHubDeviceClient.create_from_connection_string(os.environ["IOTHUB_DEVICE_CONNECTION_STRING"], **options)
try:
    client.connect()
    print(json.dumps({"event": "connected"}))
    client.send_message(Message(b"x" * int(os.environ.get("PAYLOAD_BYTES", "2"))))
    print(json.dumps({"event": "sent"}))
except Exception as error:
    print(json.dumps({"event": "refused", "error": type(error).__name__, "cause": type(error.__cause__).__name__}))
client.shutdown()
