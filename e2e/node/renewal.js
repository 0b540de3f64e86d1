// A device that stays (stay.js), whose tokens live for two seconds: it brings a new one each second, and reports so, and completes commands.
//
// IOTHUB_DEVICE_CONNECTION_STRING, TRANSPORT.
'use strict';

const { Client, SharedAccessKeyAuthenticationProvider } = require('azure-iot-device');
const { report, stay } = require('./stay');
const { transport } = require('./transport');

const LIFETIME_S = 2;
const MARGIN_S = 1;

const keys = SharedAccessKeyAuthenticationProvider.fromConnectionString(
  process.env.IOTHUB_DEVICE_CONNECTION_STRING, LIFETIME_S, MARGIN_S);
const client = Client.fromAuthenticationProvider(keys, transport());
client.on('message', (message) => {
  client.complete(message, (error) => report(error ? 'failed' : 'completed', { messageId: message.messageId }));
});
keys.on('newTokenAvailable', () => report('renewed'));
stay(client);
