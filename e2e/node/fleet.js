// Devices in one program, each over the transport that it is given. For each number on standard input each of them sends a message: the first
// is waited for, because it opens the way, and the others are not (but over HTTPS, where each request goes its own way and order is the
// sender's). A command is settled as its payload says, and one that was abandoned is completed when it comes again. When it is told no more it
// ends, once all is sent.
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
  return { id, client, waits: name === 'http', before: Promise.resolve() };
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
  let first = true;
  const sending = [];
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const number = Number(line);
    const each = devices.map((device) => {
      device.before = device.waits ? device.before.then(() => send(device, number)) : send(device, number);
      return device.before.catch((error) => report('failed', { device: device.id, number, error: error.name }));
    });
    sending.push(Promise.all(each).then(() => report('sent', { number })));
    if (first) await sending[0];
    first = false;
  }
  await Promise.all(sending);
  process.exit(0);
}

main().catch((error) => {
  report('failed', { error: error.name });
  process.exit(1);
});
