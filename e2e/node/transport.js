// The transport that the environment names.
'use strict';

exports.transport = () => {
  switch (process.env.TRANSPORT) {
    case 'mqtt':
      return require('azure-iot-device-mqtt').Mqtt;
    case 'mqtt-ws':
      return require('azure-iot-device-mqtt').MqttWs;
    case 'http':
      return require('azure-iot-device-http').Http;
    default:
      throw new Error(`TRANSPORT=${process.env.TRANSPORT}`);
  }
};
