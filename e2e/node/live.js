// A device that stays (stay.js).
//
// IOTHUB_DEVICE_CONNECTION_STRING or SAS_TOKEN, TRANSPORT.
'use strict';

const { Client } = require('azure-iot-device');
const { stay } = require('./stay');
const { transport } = require('./transport');

stay(process.env.SAS_TOKEN
  ? Client.fromSharedAccessSignature(process.env.SAS_TOKEN, transport())
  : Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, transport()));
