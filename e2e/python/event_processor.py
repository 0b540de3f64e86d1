"""An event processor that shares the partitions with others, remembers after each event where it is, and reports, until it is told no more.

STORE: the folder in which processors keep who owns what and how far each partition is.
"""

import json
import os
import sys
import tempfile
import threading
import time

from azure.eventhub import CheckpointStore, LoadBalancingStrategy

from event_hubs import consumer, described, report

BALANCING_INTERVAL_S = 0.5
OWNERSHIP_EXPIRES_S = 6


class Files(CheckpointStore):
    """Each version of an ownership is a file that only one can make: whoever dies leaves nothing half done."""

    def __init__(self, folder):
        self.folder = folder

    def _written(self, content):
        handle, path = tempfile.mkstemp(prefix="new-", dir=self.folder)
        with os.fdopen(handle, "w") as file:
            json.dump(content, file)
        return path

    def _all(self, kind):
        for name in os.listdir(self.folder):
            if name.startswith(kind):
                with open(os.path.join(self.folder, name)) as file:
                    yield json.load(file)

    def list_ownership(self, *_names, **_options):
        latest = {}
        for ownership in self._all("owner-"):
            known = latest.get(ownership["partition_id"])
            if known is None or int(known["etag"]) < int(ownership["etag"]):
                latest[ownership["partition_id"]] = ownership
        return list(latest.values())

    def claim_ownership(self, ownership_list, **_options):
        claimed = []
        for wanted in ownership_list:
            version = int(wanted.get("etag") or 0) + 1
            ownership = {**wanted, "etag": str(version), "last_modified_time": time.time()}
            written = self._written(ownership)
            try:
                os.link(written, os.path.join(self.folder, f"owner-{wanted['partition_id']}-{version}"))
                claimed.append(ownership)
            except FileExistsError:
                pass
            os.unlink(written)
        return claimed

    def update_checkpoint(self, checkpoint, **_options):
        os.replace(self._written(checkpoint), os.path.join(self.folder, f"checkpoint-{checkpoint['partition_id']}"))

    def list_checkpoints(self, *_names, **_options):
        return list(self._all("checkpoint-"))


def on_event(context, event):
    report("read", **described(context, event))
    context.update_checkpoint(event)


client = consumer(
    checkpoint_store=Files(os.environ["STORE"]),
    load_balancing_interval=BALANCING_INTERVAL_S,
    partition_ownership_expiration_interval=OWNERSHIP_EXPIRES_S,
    load_balancing_strategy=LoadBalancingStrategy.GREEDY,
)
options = {
    "starting_position": "-1",
    "on_partition_initialize": lambda context: report("claimed", partition=int(context.partition_id)),
    "on_partition_close": lambda context, reason: report("lost", partition=int(context.partition_id)),
    "on_error": lambda context, error: report("failed", error=repr(error)),
}
reading = threading.Thread(target=client.receive, args=(on_event,), kwargs=options, daemon=True)
reading.start()
sys.stdin.read()
os._exit(0)
