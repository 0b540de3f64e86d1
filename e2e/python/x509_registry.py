"""A back end registers devices that have certificates, with azure-iot-hub; each step is reported.

IOTHUB_CONNECTION_STRING, PRIMARY and SECONDARY (thumbprints).
"""

import json
import os

from azure.iot.hub import IoTHubRegistryManager


def report(step, device):
    shown = device.authentication
    print(json.dumps({"step": step, "type": shown.type, "primary": shown.x509_thumbprint.primary_thumbprint,
                      "secondary": shown.x509_thumbprint.secondary_thumbprint, "key": shown.symmetric_key.primary_key}))


registry = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
primary, secondary = os.environ["PRIMARY"], os.environ["SECONDARY"]
report("create", registry.create_device_with_x509("py-self", primary, secondary, "enabled"))
report("create issued", registry.create_device_with_certificate_authority("py-issued", "enabled"))
device = registry.get_device("py-self")
report("read", device)
report("update", registry.update_device_with_x509("py-self", device.etag, primary, secondary, "enabled"))
moved = registry.update_device_with_certificate_authority("py-self", "*", "enabled")
report("to an authority", moved)
report("and back", registry.update_device_with_x509("py-self", moved.etag, primary, secondary, "enabled"))
