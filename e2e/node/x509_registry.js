// A back end registers devices that have certificates, with azure-iothub; each step is reported.
//
// IOTHUB_CONNECTION_STRING, PRIMARY and SECONDARY (thumbprints).
'use strict';

const { Registry } = require('azure-iothub');

function report(step, device) {
  const { type, x509Thumbprint, symmetricKey } = device.authentication;
  const { primaryThumbprint: primary, secondaryThumbprint: secondary } = x509Thumbprint;
  console.log(JSON.stringify({ step, type, primary, secondary, key: symmetricKey.primaryKey }));
}

async function main() {
  const registry = Registry.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);
  const x509Thumbprint = { primaryThumbprint: process.env.PRIMARY, secondaryThumbprint: process.env.SECONDARY };
  const selfSigned = { deviceId: 'js-self', status: 'enabled', authentication: { type: 'selfSigned', x509Thumbprint } };
  report('create', (await registry.create(selfSigned)).responseBody);
  const issued = { deviceId: 'js-issued', status: 'enabled', authentication: { type: 'certificateAuthority' } };
  report('create issued', (await registry.create(issued)).responseBody);
  report('read', (await registry.get('js-self')).responseBody);
  const untyped = { deviceId: 'js-untyped', status: 'enabled', authentication: { x509Thumbprint } };
  report('create untyped', (await registry.create(untyped)).responseBody);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
