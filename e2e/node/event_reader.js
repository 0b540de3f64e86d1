// A back end that reads one partition, and reports each event and each failure, until it is told no more.
//
// PARTITION, FROM (JSON: an offset, a number or a time); OWNER_LEVEL to read alone.
'use strict';

const { consumer, described, position, report } = require('./event_hubs');

const ownerLevel = process.env.OWNER_LEVEL === undefined ? {} : { ownerLevel: Number(process.env.OWNER_LEVEL) };
consumer(undefined, { retryOptions: { maxRetries: 0 } }).subscribe(
  process.env.PARTITION,
  {
    processEvents: async (events, context) => events.forEach((event) => report('read', described(context, event))),
    processError: async (error) => report('failed', { error: `${error.code} ${error.message}` }),
  },
  { startPosition: position(JSON.parse(process.env.FROM), false), maxBatchSize: 100, maxWaitTimeInSeconds: 1, ...ownerLevel },
);
process.stdin.resume().on('end', () => process.exit(0));
