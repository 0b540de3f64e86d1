// rhea, a client of AMQP and of nothing else, that does what it is told and says what it sees. `puppet.py` is the same with Qpid Proton.
//
// HOST; USER_NAME and PASSWORD for SASL PLAIN, CERTIFICATE and KEY (files) for EXTERNAL, neither for no SASL at all; MAX_FRAME_SIZE,
// IDLE_TIME_OUT_MS. Each line of standard input is a JSON document:
//   {do: 'token', audience, token}                    answered by `token`, with the status
//   {do: 'sender' | 'receiver', link, address, ...}   answered by `attached`, or by `detached` with the condition. More: sndSettleMode and
//                                                     rcvSettleMode as numbers, session (a name), dynamic, resuming
//   {do: 'send', link, body, settled, ...}            answered by `outcome`, unless settled. More: applicationProperties, messageId; or
//                                                     garbage: bytes that are no message; or batch: bodies (here alone)
//   {do: 'credit', link, credit, drain}               `received` follows for each message, and `drained` when that is wanted
//   {do: 'settle', link, outcome}                     of the oldest message there that is not settled; answered by `settled`
//   {do: 'detach', link}                              answered by `detached`
// Bodies are in base64. A value that is an object has a type of AMQP's for its only key, as rhea calls it. Ends when it is told no more.
'use strict';

const fs = require('fs');
const readline = require('readline');
const rhea = require('rhea');

const { HOST, USER_NAME, PASSWORD, CERTIFICATE, KEY, MAX_FRAME_SIZE, IDLE_TIME_OUT_MS } = process.env;
const BATCH_FORMAT = 0x80013700;

function report(event, more) {
  console.log(JSON.stringify({ event, ...more }));
}

function condition(error) {
  return error ? { condition: error.condition, description: error.description } : {};
}

function typed(value) {
  if (value === null || typeof value !== 'object') return value;
  const [[type, plain]] = Object.entries(value);
  return rhea.types[`wrap_${type}`](type === 'uuid' ? rhea.string_to_uuid(plain) : type === 'binary' ? Buffer.from(plain, 'base64') : plain);
}

function allTyped(values) {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, typed(value)]));
}

function message({ body, messageId, applicationProperties }) {
  const made = { body: rhea.message.data_section(Buffer.from(body, 'base64')) };
  // rhea knows the type of an id by its JavaScript type.
  if (messageId !== undefined) made.message_id = messageId.ulong || messageId;
  if (applicationProperties) made.application_properties = allTyped(applicationProperties);
  return made;
}

// A body of data sections, each of which is a whole message.
function batch(bodies) {
  return Buffer.concat(bodies.map((body) => {
    const inner = rhea.message.encode(message({ body }));
    const head = Buffer.from([0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 0]);
    head.writeUInt32BE(inner.length, 4);
    return Buffer.concat([head, inner]);
  }));
}

const options = { host: HOST, hostname: HOST, servername: HOST, port: 5671, transport: 'tls', reconnect: false };
if (USER_NAME) Object.assign(options, { username: USER_NAME, password: PASSWORD });
if (CERTIFICATE) Object.assign(options, { cert: fs.readFileSync(CERTIFICATE), key: fs.readFileSync(KEY), enable_sasl_external: true });
if (MAX_FRAME_SIZE) options.max_frame_size = Number(MAX_FRAME_SIZE);
if (IDLE_TIME_OUT_MS) options.idle_time_out = Number(IDLE_TIME_OUT_MS);

const connection = rhea.create_container({ id: 'puppet' }).connect(options);
const links = new Map();
const sessions = new Map();
const sent = new Map();
const unsettled = [];
let tokens;

function nameOf(link) {
  return link && link.name;
}

function session(name) {
  if (name === undefined) return connection;
  if (!sessions.has(name)) {
    const made = connection.create_session();
    made.open();
    sessions.set(name, made);
  }
  return sessions.get(name);
}

const verbs = {
  token({ audience, token }) {
    tokens ||= { sender: connection.open_sender('$cbs'), receiver: connection.open_receiver('$cbs') };
    const application_properties = { operation: 'put-token', type: 'servicebus.windows.net:sastoken', name: audience };
    const put = () => tokens.sender.send({ message_id: audience, application_properties, body: token });
    if (tokens.sender.sendable()) put();
    else tokens.sender.once('sendable', put);
  },
  sender({ link, address, sndSettleMode, rcvSettleMode, session: name, dynamic, resuming }) {
    const made = session(name).open_sender({
      name: link, target: { address, dynamic }, snd_settle_mode: sndSettleMode, rcv_settle_mode: rcvSettleMode,
      incomplete_unsettled: resuming,
    });
    links.set(link, made);
  },
  receiver({ link, address, sndSettleMode, rcvSettleMode, session: name, dynamic }) {
    const made = session(name).open_receiver({
      name: link, source: { address, dynamic }, snd_settle_mode: sndSettleMode, rcv_settle_mode: rcvSettleMode,
      credit_window: 0, autoaccept: false, autosettle: false,
    });
    links.set(link, made);
  },
  send(told) {
    const sender = links.get(told.link);
    let delivery;
    if (told.batch) delivery = sender.send(batch(told.batch), undefined, BATCH_FORMAT);
    else if (told.garbage) delivery = sender.send(Buffer.from(told.garbage, 'base64'), undefined, 0);
    else delivery = sender.send(message(told));
    if (told.settled) delivery.settled = true;
    else sent.set(delivery, told.link);
  },
  credit({ link, credit, drain }) {
    const receiver = links.get(link);
    receiver.drain = Boolean(drain);
    receiver.add_credit(credit);
  },
  settle({ link, outcome }) {
    const place = unsettled.findIndex((one) => nameOf(one.link) === link);
    const [{ delivery }] = unsettled.splice(place, 1);
    const states = {
      accepted: rhea.message.accepted().described(),
      released: rhea.message.released().described(),
      rejected: rhea.message.rejected({ condition: 'puppet:no' }).described(),
      failed: rhea.message.modified({ delivery_failed: true }).described(),
      undeliverable: rhea.message.modified({ undeliverable_here: true }).described(),
    };
    delivery.update(undefined, states[outcome]);
    if (delivery.settled) report('settled', { link });
  },
  detach({ link }) {
    links.get(link).close();
  },
};

function attached({ sender, receiver }) {
  const link = sender || receiver;
  const granted = sender ? link.remote.attach.target : link.remote.attach.source;
  // One that is refused has neither (AMQP 2.6.3).
  if (links.get(nameOf(link)) !== link || !granted || typeof granted.address !== 'string') return;
  const { snd_settle_mode, rcv_settle_mode, max_message_size } = link.remote.attach;
  report('attached', { link: nameOf(link), sndSettleMode: snd_settle_mode, rcvSettleMode: rcv_settle_mode, maxMessageSize: max_message_size });
}

function detached({ sender, receiver }) {
  const link = sender || receiver;
  if (links.get(nameOf(link)) === link) report('detached', { link: nameOf(link), ...condition(link.error) });
}

function outcome(name) {
  connection.on(name, ({ delivery }) => {
    const link = sent.get(delivery);
    if (link !== undefined) report('outcome', { link, outcome: name, ...condition(delivery.remote_state && delivery.remote_state.error) });
  });
}

['accepted', 'rejected', 'released', 'modified'].forEach(outcome);
connection.on('connection_open', () => {
  const { max_frame_size, channel_max, idle_time_out } = connection.remote.open;
  report('connected', { maxFrameSize: max_frame_size, channelMax: channel_max, idleTimeOut: idle_time_out });
});
connection.on('connection_error', () => {});
connection.on('connection_close', () => report('closed', condition(connection.error)));
connection.on('disconnected', () => report('disconnected'));
connection.on('sender_open', attached);
connection.on('receiver_open', attached);
connection.on('sender_error', () => {});
connection.on('receiver_error', () => {});
connection.on('sender_close', detached);
connection.on('receiver_close', detached);
connection.on('receiver_drained', ({ receiver }) => report('drained', { link: nameOf(receiver), credit: receiver.credit }));
connection.on('settled', ({ receiver }) => {
  if (receiver) report('settled', { link: nameOf(receiver) });
});
connection.on('message', ({ message: came, delivery, receiver }) => {
  if (tokens && receiver === tokens.receiver) {
    report('token', { audience: came.correlation_id, status: came.application_properties['status-code'] });
    return;
  }
  if (!delivery.remote_settled) unsettled.push({ link: receiver, delivery });
  const { content } = came.body;
  const annotations = came.message_annotations || {};
  report('received', {
    link: nameOf(receiver), settled: delivery.remote_settled, tagBytes: delivery.tag.length, body: Buffer.from(content).toString('base64'),
    messageId: came.message_id, deliveryCount: annotations['iothub-deliverycount'],
  });
});
connection.on('error', (error) => report('error', { error: String(error) }));

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const told = JSON.parse(line);
    verbs[told.do](told);
  })
  .on('close', () => process.exit(0));
