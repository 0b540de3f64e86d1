// An event processor that shares the partitions with others, remembers after each batch where it is, and reports, until it is told no more.
//
// STORE: the folder in which processors keep who owns what and how far each partition is.
'use strict';

const fs = require('fs');
const path = require('path');
const { earliestEventPosition } = require('@azure/event-hubs');
const { consumer, described, report } = require('./event_hubs');

const BALANCING_INTERVAL_MS = 500;
const OWNERSHIP_EXPIRES_MS = 6000;

// Each version of an ownership is a file that only one can make: whoever dies leaves nothing half done.
class Files {
  constructor(folder) {
    this.folder = folder;
    this.written = 0;
  }

  write(content) {
    const file = path.join(this.folder, `new-${process.pid}-${this.written++}`);
    fs.writeFileSync(file, JSON.stringify(content));
    return file;
  }

  all(kind) {
    const names = fs.readdirSync(this.folder).filter((name) => name.startsWith(kind));
    return names.map((name) => JSON.parse(fs.readFileSync(path.join(this.folder, name))));
  }

  async listOwnership() {
    const latest = new Map();
    for (const ownership of this.all('owner-')) {
      const known = latest.get(ownership.partitionId);
      if (!known || Number(known.etag) < Number(ownership.etag)) latest.set(ownership.partitionId, ownership);
    }
    return [...latest.values()];
  }

  async claimOwnership(wanted) {
    return wanted.flatMap((wish) => {
      const version = Number(wish.etag || 0) + 1;
      const ownership = { ...wish, etag: String(version), lastModifiedTimeInMs: Date.now() };
      const file = this.write(ownership);
      try {
        fs.linkSync(file, path.join(this.folder, `owner-${wish.partitionId}-${version}`));
        return [ownership];
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
        return [];
      } finally {
        fs.unlinkSync(file);
      }
    });
  }

  async updateCheckpoint(checkpoint) {
    fs.renameSync(this.write(checkpoint), path.join(this.folder, `checkpoint-${checkpoint.partitionId}`));
  }

  async listCheckpoints() {
    return this.all('checkpoint-');
  }
}

const loadBalancingOptions = {
  strategy: 'greedy',
  updateIntervalInMs: BALANCING_INTERVAL_MS,
  partitionOwnershipExpirationIntervalInMs: OWNERSHIP_EXPIRES_MS,
};
consumer(new Files(process.env.STORE), { loadBalancingOptions }).subscribe(
  {
    processInitialize: async (context) => report('claimed', { partition: Number(context.partitionId) }),
    processClose: async (reason, context) => report('lost', { partition: Number(context.partitionId) }),
    processEvents: async (events, context) => {
      events.forEach((event) => report('read', described(context, event)));
      if (events.length > 0) await context.updateCheckpoint(events[events.length - 1]);
    },
    processError: async (error) => report('failed', { error: `${error.code} ${error.message}` }),
  },
  { startPosition: earliestEventPosition, maxBatchSize: 20, maxWaitTimeInSeconds: 1 },
);
process.stdin.resume().on('end', () => process.exit(0));
