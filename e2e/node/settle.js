// A device receives commands over HTTPS or AMQP, and does with each what it is told: complete, reject, abandon, or `complete twice`.
//
// IOTHUB_DEVICE_CONNECTION_STRING, TRANSPORT (http, amqp or amqp-ws). Each line of standard input is for one command.
'use strict';

const readline = require('readline');
const { Client } = require('azure-iot-device');
const { transport } = require('./transport');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function settle(client, message, how) {
  try {
    for (const one of how === 'complete twice' ? ['complete', 'complete'] : [how]) await client[one](message);
    report('settled', { how });
  } catch (error) {
    report('refused', { how, error: error.name, status: error.response && error.response.statusCode, body: error.responseBody });
  }
}

async function main() {
  const client = Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, transport());
  const words = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  let before = Promise.resolve();
  client.on('error', (error) => report('error', { error: error.message }));
  client.on('disconnect', () => report('disconnected'));
  client.on('message', (message) => {
    report('received', {
      data: message.getData().toString(),
      messageId: message.messageId,
      correlationId: message.correlationId,
      contentType: message.contentType,
      contentEncoding: message.contentEncoding,
      ack: message.ack,
      to: message.to,
      expiry: message.expiryTimeUtc,
      properties: Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value])),
    });
    before = before.then(async () => settle(client, message, (await words.next()).value));
  });
  await client.open();
  report('open');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
