"""A back end reads receipts over HTTPS with azure-iot-hub, and prints each when it is taken; also gives back, settles twice, and purges.

IOTHUB_CONNECTION_STRING, RECEIPTS (how many to take), PURGE (a device whose queue is emptied first), ABANDON (set: the first batch is given
back, and then completed twice).
"""

import json
import os

from azure.iot.hub.iothub_http_runtime_manager import IoTHubHttpRuntimeManager
from msrest.exceptions import HttpOperationError


def report(event, **more):
    print(json.dumps({"event": event, **more}))


runtime = IoTHubHttpRuntimeManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
commands = runtime.protocol.cloud_to_device_messages

if "PURGE" in os.environ:
    purged = commands.purge_cloud_to_device_message_queue(os.environ["PURGE"])
    report("purged", count=purged.total_messages_purged, device=purged.device_id)


def receive():
    """The next receipts and their lock token; the manager itself throws the body away, so it is taken from the layer below."""
    while True:
        response = commands.receive_feedback_notification(raw=True).response
        if response.status_code == 200:
            return response.json(), response.headers["ETag"].strip('"')


if "ABANDON" in os.environ:
    receipts, token = receive()
    runtime.abandon_feedback_notification(token)
    report("abandoned", count=len(receipts))
    again, token = receive()
    report("again", same=again[: len(receipts)] == receipts)
    runtime.complete_feedback_notification(token)
    try:
        runtime.complete_feedback_notification(token)
        report("completed twice")
    except HttpOperationError as error:
        report("lock lost", status=error.response.status_code, code=error.response.headers["iothub-errorcode"])
    for receipt in again:
        report("receipt", **receipt)
    left = int(os.environ["RECEIPTS"]) - len(again)
else:
    left = int(os.environ["RECEIPTS"])

while left > 0:
    receipts, token = receive()
    runtime.complete_feedback_notification(token)
    for receipt in receipts:
        report("receipt", **receipt)
    left -= len(receipts)
