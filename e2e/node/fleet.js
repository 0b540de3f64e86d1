// Devices in one program, each over the transport that it is given. For each number on standard input each of them sends a message; a command
// is settled as its payload says, and one that was abandoned is completed when it comes again. Ends when it is told no more.
//
// DEVICES: a JSON array of id, transport and connectionString.
'use strict';

const readline = require('readline');
const { Client, Message } = require('azure-iot-device');
const { transport } = require('./transport');

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

async function settle(id, client, seen, message) {
  const asked = message.getData().toString();
  const how = asked === 'abandon' && seen.has(message.messageId) ? 'complete' : asked;
  seen.add(message.messageId);
  try {
    await client[how](message);
    report('settled', { device: id, messageId: message.messageId, how });
  } catch (error) {
    report('failed', { device: id, error: error.name });
  }
}

async function start({ id, transport: name, connectionString }) {
  const client = Client.fromConnectionString(connectionString, transport(name));
  const seen = new Set();
  client.on('error', (error) => report('failed', { device: id, error: error.name }));
  client.on('message', (message) => settle(id, client, seen, message));
  await client.open();
  return { id, client };
}

async function send({ id, client }, number) {
  const message = new Message(JSON.stringify({ number }));
  message.messageId = `${id}-${number}`;
  message.contentType = 'application/json';
  message.properties.add('number', number);
  message.properties.add('ratio', number + 0.5);
  message.properties.add('even', number % 2 === 0);
  await client.sendEvent(message);
}

async function main() {
  const devices = await Promise.all(JSON.parse(process.env.DEVICES).map(start));
  report('connected');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await Promise.all(devices.map((device) => send(device, Number(line))));
    report('sent', { number: Number(line) });
  }
  process.exit(0);
}

main().catch((error) => {
  report('failed', { error: error.name });
  process.exit(1);
});
