// A back end keeps its devices with azure-iothub: creates, reads, updates, lists, counts, deletes; each step is reported.
//
// IOTHUB_CONNECTION_STRING.
'use strict';

const { Registry } = require('azure-iothub');

function report(step, more) {
  console.log(JSON.stringify({ step, ...more }));
}

async function refusal(attempt) {
  try {
    await attempt();
    return 'none';
  } catch (error) {
    return error.name;
  }
}

async function main() {
  const registry = Registry.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);

  const created = (await registry.create({ deviceId: 'js-1' })).responseBody;
  report('create', {
    id: created.deviceId,
    status: created.status,
    etag: created.etag,
    generation: created.generationId,
    keys: [created.authentication.symmetricKey.primaryKey, created.authentication.symmetricKey.secondaryKey],
    state: created.connectionState,
  });
  report('create again', { refusal: await refusal(() => registry.create({ deviceId: 'js-1' })) });

  const read = (await registry.get('js-1')).responseBody;
  report('read', { same: JSON.stringify(read) === JSON.stringify(created) });
  report('read another', { refusal: await refusal(() => registry.get('nobody')) });

  const change = { deviceId: 'js-1', status: 'disabled', statusReason: 'lost', authentication: created.authentication };
  const updated = (await registry.update({ ...change, etag: created.etag })).responseBody;
  report('update', {
    status: updated.status,
    reason: updated.statusReason,
    newEtag: updated.etag !== created.etag,
    sameKeys: updated.authentication.symmetricKey.primaryKey === created.authentication.symmetricKey.primaryKey,
  });
  // `update` is always unconditional in this SDK; only the bulk call compares.
  const stale = [{ deviceId: 'js-1', status: 'enabled', etag: created.etag }];
  report('update with an old etag', { refusal: await refusal(() => registry.updateDevices(stale, false)) });

  const added = (await registry.addDevices([{ deviceId: 'js-2', status: 'enabled' }, { deviceId: 'js-3', status: 'disabled' }])).responseBody;
  report('bulk add', { successful: added.isSuccessful });
  const changed = (await registry.updateDevices([{ deviceId: 'js-2', status: 'disabled' }], true)).responseBody;
  report('bulk update', { successful: changed.isSuccessful });

  report('list', { ids: (await registry.list()).responseBody.map((device) => device.deviceId).sort() });
  const count = (await registry.getRegistryStatistics()).responseBody;
  report('statistics', { total: count.totalDeviceCount, enabled: count.enabledDeviceCount, disabled: count.disabledDeviceCount });

  const removed = (await registry.removeDevices([{ deviceId: 'js-2' }, { deviceId: 'js-3' }], true)).responseBody;
  report('bulk remove', { successful: removed.isSuccessful });
  await registry.delete('js-1');
  report('delete', { refusal: await refusal(() => registry.get('js-1')) });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
