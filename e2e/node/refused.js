// A device tries to connect and to send one message, once, and reports what became of it.
//
// IOTHUB_DEVICE_CONNECTION_STRING or SAS_TOKEN, TRANSPORT, PAYLOAD_BYTES (default 2).
'use strict';

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
  try {
    await client.open();
    report('connected');
    await client.sendEvent(new Message(Buffer.alloc(Number(process.env.PAYLOAD_BYTES || 2), 'x')));
    report('sent');
  } catch (error) {
    report('refused', { error: error.name });
  }
  process.exit(0);
}

main();
