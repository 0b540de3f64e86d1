"""A back end sends commands over AMQP with azure-iot-hub, as it is told. Each line of standard input is a JSON document of one command:
device, data, properties.

IOTHUB_CONNECTION_STRING, WEBSOCKETS (set: over a WebSocket on 443).
"""

import json
import os
import sys

import certifi

# uamqp asks certifi whom to trust, and nobody can tell it otherwise.
certifi.where = lambda: os.environ["SSL_CERT_FILE"]

from azure.iot.hub import IoTHubRegistryManager  # noqa: E402
from uamqp import TransportType  # noqa: E402


def report(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


transport = TransportType.AmqpOverWebsocket if "WEBSOCKETS" in os.environ else TransportType.Amqp
back_end = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"], transport)
report("ready")
for line in sys.stdin:
    told = json.loads(line)
    try:
        back_end.send_c2d_message(told["device"], told["data"], told["properties"])
        report("sent")
    except Exception as error:
        report("refused", error=str(error))
