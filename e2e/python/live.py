"""A device that stays: sends a message for each line it is told, and reports how its connection fares.

IOTHUB_DEVICE_CONNECTION_STRING. Ends when it is told no more.
"""

import json
import os
import sys
import threading

from azure.iot.device import IoTHubDeviceClient

speech = threading.Lock()


def report(event, **more):
    with speech:
        print(json.dumps({"event": event, **more}), flush=True)


def connection_changed():
    report("connected" if client.connected else "disconnected")


client = IoTHubDeviceClient.create_from_connection_string(
    os.environ["IOTHUB_DEVICE_CONNECTION_STRING"], connection_retry=False, auto_connect=False
)
client.on_connection_state_change = connection_changed
client.connect()
for line in sys.stdin:
    try:
        client.send_message(line.rstrip("\n"))
        report("sent", body=line.rstrip("\n"))
    except Exception as error:
        report("failed", error=type(error).__name__)
client.shutdown()
