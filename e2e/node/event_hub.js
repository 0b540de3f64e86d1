// A back end that looks at the Event Hubs-compatible endpoint: what it is, what its partitions hold, and what is read from each position.
//
// POSITIONS: a JSON list of {"partition", "from", "inclusive", "count"}. Ends when all of it was told.
'use strict';

const { consumer, described, position, report } = require('./event_hubs');

async function properties(client) {
  const hub = await client.getEventHubProperties();
  report('hub', { name: hub.name, created: hub.createdOn, partitions: hub.partitionIds });
  for (const id of hub.partitionIds) {
    const told = await client.getPartitionProperties(id);
    report('partition', {
      name: told.eventHubName,
      id: told.partitionId,
      begin: told.beginningSequenceNumber,
      last: told.lastEnqueuedSequenceNumber,
      lastOffset: told.lastEnqueuedOffset,
      lastTime: told.lastEnqueuedOnUtc.getTime(),
      isEmpty: told.isEmpty,
    });
  }
}

async function read(client, wish) {
  const found = [];
  let subscription;
  await new Promise((done) => {
    subscription = client.subscribe(
      String(wish.partition),
      {
        processEvents: async (events, context) => {
          found.push(...events.map((event) => described(context, event)));
          if (found.length >= wish.count) done();
        },
        processError: async (error) => {
          found.push({ error: `${error.code} ${error.message}` });
          done();
        },
      },
      { startPosition: position(wish.from, wish.inclusive), trackLastEnqueuedEventProperties: true, maxBatchSize: 100, maxWaitTimeInSeconds: 1 },
    );
  });
  await subscription.close();
  report('read', { events: found });
}

async function main() {
  const client = consumer();
  await properties(client);
  for (const wish of JSON.parse(process.env.POSITIONS)) await read(client, wish);
  await client.close();
}

main();
