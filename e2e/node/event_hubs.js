// The Event Hubs client of the scripts beside this file, and how they say what they read.
//
// EVENTHUB_CONNECTION_STRING; GROUP ($Default), TRANSPORT (amqp, or ws for a WebSocket).
'use strict';

const { EventHubConsumerClient } = require('@azure/event-hubs');

exports.report = (event, more) => console.log(JSON.stringify({ event, ...more }));

exports.consumer = (store, options) => {
  const overWebSocket = process.env.TRANSPORT === 'ws' ? { webSocketOptions: { webSocket: require('ws') } } : {};
  const group = process.env.GROUP || '$Default';
  const all = { ...overWebSocket, ...options };
  return store
    ? new EventHubConsumerClient(group, process.env.EVENTHUB_CONNECTION_STRING, store, all)
    : new EventHubConsumerClient(group, process.env.EVENTHUB_CONNECTION_STRING, all);
};

// An offset as a string, a sequence number as a number, a time as {"time": milliseconds since 1970}.
exports.position = (wanted, isInclusive) => {
  if (typeof wanted === 'string') return { offset: wanted, isInclusive };
  if (typeof wanted === 'number') return { sequenceNumber: wanted, isInclusive };
  return { enqueuedOn: new Date(wanted.time) };
};

exports.described = (context, event) => ({
  partition: Number(context.partitionId),
  sequenceNumber: event.sequenceNumber,
  offset: event.offset,
  enqueued: event.enqueuedTimeUtc.getTime(),
  device: event.systemProperties['iothub-connection-device-id'],
  authMethod: event.systemProperties['iothub-connection-auth-method'],
  source: event.systemProperties['iothub-message-source'],
  contentType: event.contentType,
  messageId: event.messageId,
  properties: event.properties || {},
  body: Buffer.isBuffer(event.body) ? event.body.toString() : typeof event.body === 'string' ? event.body : JSON.stringify(event.body),
  lastEnqueued: context.lastEnqueuedEventProperties && context.lastEnqueuedEventProperties.sequenceNumber,
});
