// A device that receives commands: reports each with its properties, and completes it. Ends when it is told no more.
//
// IOTHUB_DEVICE_CONNECTION_STRING, TRANSPORT (mqtt or mqtt-ws).
'use strict';

const { Client } = require('azure-iot-device');
const { transport } = require('./transport');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function main() {
  const client = Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, transport());
  client.on('message', (message) => {
    report('command', {
      bodyBase64: message.getData().toString('base64'),
      messageId: message.messageId,
      correlationId: message.correlationId,
      contentType: message.contentType,
      contentEncoding: message.contentEncoding,
      userId: message.userId,
      expiry: message.expiryTimeUtc,
      ack: message.ack,
      properties: Object.fromEntries(message.properties.propertyList.map(({ key, value }) => [key, value])),
    });
    client.complete(message, (error) => {
      if (error) report('failed', { error: error.name });
    });
  });
  await client.open();
  report('connected');
  process.stdin.on('end', () => process.exit(0)).resume();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
