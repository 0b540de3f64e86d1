// A device with a certificate that stays: sends a message for each line it is told, and reports how its connection fares.
//
// HOST_NAME, DEVICE_ID, CERTIFICATE and KEY (files), TRANSPORT. Ends when it is told no more.
'use strict';

const fs = require('fs');
const readline = require('readline');
const { Client, Message } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { transport } = require('./transport');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function main() {
  const { HOST_NAME, DEVICE_ID, CERTIFICATE, KEY, TRANSPORT } = process.env;
  const client = Client.fromConnectionString(`HostName=${HOST_NAME};DeviceId=${DEVICE_ID};x509=true`, transport());
  const identity = { cert: fs.readFileSync(CERTIFICATE, 'utf8'), key: fs.readFileSync(KEY, 'utf8') };
  // The HTTPS transport's promise settles only with options of its own.
  await client.setOptions(TRANSPORT === 'http' ? { ...identity, http: { receivePolicy: { interval: 60 } } } : identity);
  client.setRetryPolicy(new NoRetry());
  client.on('disconnect', () => report('disconnected'));
  client.on('error', (error) => report('error', { error: error.name }));
  try {
    await client.open();
    report('connected');
  } catch (error) {
    report('refused', { error: error.name });
    process.exit(0);
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      await client.sendEvent(new Message(line));
      report('sent');
    } catch (error) {
      report('failed', { error: error.name });
    }
  }
  process.exit(0);
}

main();
