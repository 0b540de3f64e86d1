// What a device does that stays: sends a message for each line it is told, and reports how its connection fares. Ends when it is told no more.
'use strict';

const readline = require('readline');
const { Message } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function stay(client) {
  client.setRetryPolicy(new NoRetry());
  client.on('disconnect', () => report('disconnected'));
  client.on('error', (error) => report('error', { error: error.name }));
  await client.open();
  report('connected');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      await client.sendEvent(new Message(line));
      report('sent', { body: line });
    } catch (error) {
      report('failed', { error: error.name });
    }
  }
  process.exit(0);
}

module.exports = { report, stay };
