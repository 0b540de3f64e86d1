// A device sends the messages of a file, one after another, or all at once as a batch.
//
// IOTHUB_DEVICE_CONNECTION_STRING, TRANSPORT, MESSAGES (a JSON file), BATCH (set: one HTTPS batch).
'use strict';

const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { transport } = require('./transport');

function message(sample) {
  const made = new Message(Buffer.from(sample.bodyBase64, 'base64'));
  for (const field of ['messageId', 'correlationId', 'contentType', 'contentEncoding']) {
    if (sample[field] !== undefined) made[field] = sample[field];
  }
  for (const [name, value] of Object.entries(sample.properties)) made.properties.add(name, value);
  return made;
}

async function main() {
  const samples = JSON.parse(fs.readFileSync(process.env.MESSAGES, 'utf8'));
  const client = Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, transport());
  await client.open();
  if (process.env.BATCH) {
    await client.sendEventBatch(samples.map(message));
    console.log(JSON.stringify({ sent: samples.length }));
  } else {
    for (const sample of samples) {
      await client.sendEvent(message(sample));
      console.log(JSON.stringify({ sent: sample.name }));
    }
  }
  await client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
