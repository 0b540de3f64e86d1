"""A back end keeps its devices with azure-iot-hub: creates, reads, updates, lists, counts, deletes; each step is reported.

IOTHUB_CONNECTION_STRING.
"""

import json
import os

from azure.core.exceptions import HttpResponseError
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import ExportImportDevice
from msrest.exceptions import HttpOperationError


def report(step, **more):
    print(json.dumps({"step": step, **more}))


def refusal(attempt):
    try:
        attempt()
        return "none"
    except (HttpOperationError, HttpResponseError) as error:
        return error.response.status_code


registry = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])

created = registry.create_device_with_sas("py-1", "", "", "enabled")
keys = created.authentication.symmetric_key
report("create", id=created.device_id, status=created.status, etag=created.etag, generation=created.generation_id,
       keys=[keys.primary_key, keys.secondary_key], state=created.connection_state)
report("create again", refusal=refusal(lambda: registry.create_device_with_sas("py-1", "", "", "enabled")))

read = registry.get_device("py-1")
report("read", same=read.as_dict() == created.as_dict())
report("read another", refusal=refusal(lambda: registry.get_device("nobody")))

updated = registry.update_device_with_sas("py-1", created.etag, keys.primary_key, keys.secondary_key, "disabled", status_reason="lost")
report("update", status=updated.status, reason=updated.status_reason, newEtag=updated.etag != created.etag,
       sameKeys=updated.authentication.symmetric_key.primary_key == keys.primary_key, sameGeneration=updated.generation_id == created.generation_id)
report("update with an old etag", refusal=refusal(
    lambda: registry.update_device_with_sas("py-1", created.etag, keys.primary_key, keys.secondary_key, "enabled")))

bulk = registry.bulk_create_or_update_devices(
    [ExportImportDevice(id="py-2", import_mode="create"), ExportImportDevice(id="py-3", import_mode="createOrUpdate", status="disabled")])
report("bulk", successful=bulk.is_successful, errors=len(bulk.errors or []))

report("list", ids=sorted(device.device_id for device in registry.get_devices(max_number_of_devices=100)))
count = registry.get_device_registry_statistics()
report("statistics", total=count.total_device_count, enabled=count.enabled_device_count, disabled=count.disabled_device_count)
report("service statistics", connected=registry.get_service_statistics().connected_device_count)

report("delete with an old etag", refusal=refusal(lambda: registry.delete_device("py-1", created.etag)))
registry.delete_device("py-1", updated.etag)
registry.delete_device("py-2")
report("delete", refusal=refusal(lambda: registry.get_device("py-1")))

again = registry.create_device_with_sas("py-1", keys.primary_key, keys.secondary_key, "enabled")
report("create anew", newGeneration=again.generation_id != created.generation_id,
       ownKey=again.authentication.symmetric_key.primary_key == keys.primary_key)
