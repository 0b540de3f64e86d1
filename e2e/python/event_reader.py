"""A back end that reads one partition, and reports each event and each failure, until it is told no more.

PARTITION, FROM (JSON: an offset, a number or a time); OWNER_LEVEL to read alone.
"""

import json
import os
import sys
import threading

from event_hubs import consumer, described, position, report

client = consumer()
options = {
    "partition_id": os.environ["PARTITION"],
    "starting_position": position(json.loads(os.environ["FROM"])),
    "on_error": lambda _context, error: report("failed", error=repr(error)),
}
if "OWNER_LEVEL" in os.environ:
    options["owner_level"] = int(os.environ["OWNER_LEVEL"])
reading = threading.Thread(
    target=client.receive, args=(lambda context, event: report("read", **described(context, event)),), kwargs=options, daemon=True
)
reading.start()
sys.stdin.read()
os._exit(0)
