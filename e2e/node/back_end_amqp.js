// A back end over AMQP does as it is told. Each line of standard input is `receive`, from which on it receives receipts, or a JSON document of
// one command: device, data or bytes (how many), messageId, ack, correlationId, contentType, expiry, properties.
//
// IOTHUB_CONNECTION_STRING, TRANSPORT (amqp or amqp-ws).
'use strict';

const readline = require('readline');
const { Amqp, AmqpWs, Client } = require('azure-iothub');
const { Message } = require('azure-iot-common');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

function message(told) {
  const message = new Message(told.bytes ? Buffer.alloc(told.bytes) : told.data);
  message.messageId = told.messageId;
  message.ack = told.ack;
  if (told.correlationId) message.correlationId = told.correlationId;
  if (told.contentType) message.contentType = told.contentType;
  if (told.expiry) message.expiryTimeUtc = told.expiry;
  for (const [name, value] of Object.entries(told.properties || {})) message.properties.add(name, value);
  return message;
}

function receive(client) {
  client.getFeedbackReceiver((error, receiver) => {
    if (error) return report('no receipts', { error: error.name });
    receiver.on('message', (message) => {
      for (const receipt of JSON.parse(message.data)) report('receipt', { contentType: message.contentType, ...receipt });
    });
    client.getFileNotificationReceiver((error, files) => {
      if (error) return report('no files', { error: error.name });
      files.on('message', (message) => report('file', { data: message.data.toString() }));
      report('receiving');
    });
  });
}

async function main() {
  const client = Client.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING, process.env.TRANSPORT === 'amqp' ? Amqp : AmqpWs);
  await client.open();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    if (line === 'receive') {
      receive(client);
      continue;
    }
    const told = JSON.parse(line);
    client.send(told.device, message(told)).then(
      () => report('sent', { messageId: told.messageId }),
      (error) => report('refused', { messageId: told.messageId, error: error.name }),
    );
  }
  await client.close();
  report('closed');
}

main().catch((error) => {
  report('failed', { error: error.name });
  process.exit(1);
});
