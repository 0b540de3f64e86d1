// A device that stays: sends a message for each line it is told, and reports how its connection fares. Ends when it is told no more.
//
// IOTHUB_DEVICE_CONNECTION_STRING or SAS_TOKEN, TRANSPORT.
'use strict';

const readline = require('readline');
const { Client, Message } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { transport } = require('./transport');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function main() {
  const client = process.env.SAS_TOKEN
    ? Client.fromSharedAccessSignature(process.env.SAS_TOKEN, transport())
    : Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, transport());
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

main();
