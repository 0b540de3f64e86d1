// The transport that the environment names.
'use strict';

exports.transport = () => {
  switch (process.env.TRANSPORT) {
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
      throw new Error(`TRANSPORT=${process.env.TRANSPORT}`);
  }
};
