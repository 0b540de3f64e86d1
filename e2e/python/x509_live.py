"""A device with a certificate that stays: sends a message for each line it is told, and reports how its connection fares.

HOST_NAME, DEVICE_ID, CERTIFICATE and KEY (files), WEBSOCKETS. Ends when it is told no more.
"""

import json
import os
import sys
import threading

from azure.iot.device import IoTHubDeviceClient, X509

speech = threading.Lock()


def report(event, **more):
    with speech:
        print(json.dumps({"event": event, **more}), flush=True)


client = IoTHubDeviceClient.create_from_x509_certificate(
    X509(os.environ["CERTIFICATE"], os.environ["KEY"]), os.environ["HOST_NAME"], os.environ["DEVICE_ID"],
    websockets="WEBSOCKETS" in os.environ, connection_retry=False, auto_connect=False
)
client.on_connection_state_change = lambda: report("connected" if client.connected else "disconnected")
try:
    client.connect()
    for line in sys.stdin:
        try:
            client.send_message(line.rstrip("\n"))
            report("sent")
        except Exception as error:
            report("failed", error=type(error).__name__)
except Exception as error:
    report("refused", error=type(error).__name__)
client.shutdown()
