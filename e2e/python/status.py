"""A person disables or enables a device with azure-iot-hub. Arguments: its id, the status, the reason.

IOTHUB_CONNECTION_STRING.
"""

import json
import os
import sys

from azure.iot.hub import IoTHubRegistryManager

device_id, status, reason = sys.argv[1:]
registry = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
device = registry.get_device(device_id)
keys = device.authentication.symmetric_key
updated = registry.update_device_with_sas(device_id, device.etag, keys.primary_key, keys.secondary_key, status, status_reason=reason)
print(json.dumps({"status": updated.status, "reason": updated.status_reason}))
