"""A back end that looks at the Event Hubs-compatible endpoint: what it is, what its partitions hold, and what is read from each position.

POSITIONS: a JSON list of {"partition", "from", "inclusive", "count"}. Ends when all of it was told.
"""

import json
import os
import threading

from event_hubs import consumer, described, position, report


def properties():
    client = consumer()
    hub = client.get_eventhub_properties()
    report("hub", name=hub["eventhub_name"], created=hub["created_at"].isoformat(), partitions=hub["partition_ids"])
    for partition in hub["partition_ids"]:
        told = client.get_partition_properties(partition)
        report(
            "partition",
            name=told["eventhub_name"],
            id=told["id"],
            begin=told["beginning_sequence_number"],
            last=told["last_enqueued_sequence_number"],
            lastOffset=told["last_enqueued_offset"],
            lastTime=round(told["last_enqueued_time_utc"].timestamp() * 1000),
            isEmpty=told["is_empty"],
        )
    client.close()


def read(wish):
    found, done, client = [], threading.Event(), consumer()

    def on_event(context, event):
        found.append(described(context, event))
        if len(found) >= wish["count"]:
            done.set()

    def on_error(_context, error):
        found.append({"error": repr(error)})
        done.set()

    options = {
        "partition_id": str(wish["partition"]),
        "starting_position": position(wish["from"]),
        "starting_position_inclusive": wish["inclusive"],
        "track_last_enqueued_event_properties": True,
        "on_error": on_error,
    }
    reading = threading.Thread(target=client.receive, args=(on_event,), kwargs=options)
    reading.start()
    done.wait()
    client.close()
    reading.join()
    report("read", events=found)


properties()
for wanted in json.loads(os.environ["POSITIONS"]):
    read(wanted)
