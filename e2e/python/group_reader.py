"""A back end that reads every partition in a consumer group from the beginning, and reports each event; until it is told no more.

Arguments: the hub's connection string in Event Hubs' form, with EntityPath; the group.
"""

import json
import os
import sys
import threading

from azure.eventhub import EventHubConsumerClient

connection_string, group = sys.argv[1:]
speech = threading.Lock()


def report(event, **more):
    with speech:
        print(json.dumps({"event": event, **more}), flush=True)


def read(context, event):
    report("event", partition=int(context.partition_id), sequenceNumber=event.sequence_number, body=event.body_as_str())


def failed(context, error):
    report("failed", error=str(error))


client = EventHubConsumerClient.from_connection_string(
    connection_string, consumer_group=group, connection_verify=os.environ["SSL_CERT_FILE"]
)
reading = threading.Thread(target=client.receive, args=(read,), kwargs={"starting_position": "-1", "on_error": failed})
reading.start()
sys.stdin.read()
client.close()
reading.join()
