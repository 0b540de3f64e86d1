// The transport of that name, or that the environment names.
'use strict';

exports.transport = (name = process.env.TRANSPORT) => {
  switch (name) {
    case 'mqtt':
      return require('azure-iot-device-mqtt').Mqtt;
    case 'mqtt-ws':
      return require('azure-iot-device-mqtt').MqttWs;
    case 'amqp':
      return require('azure-iot-device-amqp').Amqp;
    case 'amqp-ws':
      return require('azure-iot-device-amqp').AmqpWs;
    case 'http':
      return require('azure-iot-device-http').Http;
    default:
      throw new Error(`there is no transport ${name}`);
  }
};
