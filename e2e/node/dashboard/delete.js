// A device is deleted on its page, after its id was typed; one that a manifest speaks for is not: the page says what to change there.
//
// DASHBOARD, DEVICE (connected), WHY, MANAGED (by a manifest of a folder). Told a line when the manifest is gone.
'use strict';

const { report, run } = require('./browser');
const { after, asks, content, expect, visit, visitor } = require('./visit');

async function asked(page) {
  await page.getByRole('button', { name: 'Delete…' }).click();
  return page.getByRole('dialog', { name: 'Delete this device?' });
}

run(async (browser) => {
  const { DEVICE: device, WHY: why, MANAGED: managed } = process.env;
  const somebody = await visitor(browser);
  const list = await visit(somebody, '/devices?sort=id');
  const row = (id) => list.getByLabel('Device rows').getByRole('row').filter({ hasText: id });
  const audit = await visit(somebody, `/audit?device=${device}`);
  const page = await visit(somebody, `/devices/${device}`);
  await page.locator('.page__head').getByText('Connected', { exact: true }).waitFor();
  await row(device).waitFor();
  const dialog = await asked(page);
  const sure = dialog.getByRole('button', { name: 'Delete device' });
  await dialog.getByText('its connection closes within a second').waitFor();
  expect(await sure.isDisabled(), 'nothing is done before the id is typed');
  await dialog.getByLabel(/^Reason/).fill(why);
  await dialog.getByLabel(/^Type/).fill(`${device}0`);
  expect(await sure.isDisabled(), 'nothing is done when another id is typed');
  await dialog.getByRole('button', { name: 'Keep it' }).click();
  await dialog.waitFor({ state: 'hidden' });
  await asked(page);
  expect(await sure.isDisabled(), 'it has to be typed each time');
  await dialog.getByLabel(/^Reason/).fill(why);
  await dialog.getByLabel(/^Type/).fill(device);
  await sure.click();
  await page.getByText('No device has this id now').waitFor();
  await row(device).waitFor({ state: 'detached' });
  const entry = audit.getByRole('row').filter({ hasText: 'Device deleted' });
  await entry.filter({ hasText: why }).waitFor();
  expect(await entry.count() === 1, 'the audit has it once');
  expect(await page.getByRole('button', { name: 'Delete…' }).count() === 0, 'what is gone is not offered to be deleted');
  report({ event: 'deleted' });

  const kept = await visit(somebody, `/devices/${managed}`);
  const change = `take ${managed} out of the folder that the hub reads manifests from`;
  const told = await asked(kept);
  await told.getByText('This device comes from a manifest, which would make it again.').waitFor();
  await told.getByText(change).waitFor();
  expect(await told.getByRole('button', { name: 'Delete device' }).count() === 0, 'the page does not delete what a manifest speaks for');
  await told.getByRole('button', { name: 'Keep it' }).click();
  await kept.getByText('Device manifest').click();
  await kept.getByText(change).waitFor();
  const answer = await asks(somebody, 'POST', '/devices/actions', { action: 'delete', ids: [managed] });
  await after('refused', { said: answer.body });
  await kept.getByText('No device has this id now').waitFor();
  content(somebody);
  report({ event: 'end' });
});
