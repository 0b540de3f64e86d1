// A device whose tokens live for two seconds: it brings a new one each second, and reports so, sends a message for each line it is told,
// and completes commands. Ends when it is told no more.
//
// IOTHUB_DEVICE_CONNECTION_STRING, TRANSPORT.
'use strict';

const readline = require('readline');
const { Client, Message, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { NoRetry } = require('azure-iot-common');
const { transport } = require('./transport');

const LIFETIME_S = 2;
const MARGIN_S = 1;

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function main() {
  const keys = SharedAccessKeyAuthenticationProvider.fromConnectionString(
    process.env.IOTHUB_DEVICE_CONNECTION_STRING, LIFETIME_S, MARGIN_S);
  const client = Client.fromAuthenticationProvider(keys, transport());
  client.setRetryPolicy(new NoRetry());
  client.on('disconnect', () => report('disconnected'));
  client.on('error', (error) => report('error', { error: error.name }));
  client.on('message', (message) => {
    client.complete(message, (error) => report(error ? 'failed' : 'completed', { messageId: message.messageId }));
  });
  await client.open();
  report('connected');
  keys.on('newTokenAvailable', () => report('renewed'));
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
