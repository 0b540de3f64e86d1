// One command to many: sent with one click, refused by name where it can't be, found under the stage that it is in, and one that a device rejected is
// sent again.
//
// DASHBOARD, DEVICES (with commas; the first is not registered), REJECTED (the id of a command that was rejected), CALLED (what it is called).
'use strict';

const { report, run } = require('./browser');
const { content, expect, visit, visitor } = require('./visit');

run(async (browser) => {
  const devices = process.env.DEVICES.split(',');
  const { REJECTED: rejected, CALLED: called } = process.env;
  // What the hub says to a command for nobody, the browser writes down itself.
  const nobody = new RegExp(`status of 404 .*/devices/${devices[0]}/commands`);
  const somebody = await visitor(browser, { harmless: [nobody] });
  const commands = await visit(somebody, '/commands');
  const page = await visit(somebody, `/compose?${devices.map((id) => `device=${encodeURIComponent(id)}`).join('&')}`);
  const words = `Send to ${devices.length} devices`;
  expect(await page.getByRole('button', { name: words }).isDisabled(), 'nothing that nobody has written can be sent');
  await page.getByLabel('Payload').fill('{"open": true}');
  await page.getByLabel('Property name').fill('Level');
  expect(await page.getByRole('button', { name: words }).isDisabled(), 'a name that would not arrive as it is can be sent');
  await page.getByLabel('Property name').fill('level');
  await page.getByLabel('Message id').fill('to-many');
  await page.getByRole('button', { name: words }).click();
  await page.getByRole('dialog', { name: 'Send to many devices?' }).getByRole('button', { name: words }).click();
  await page.getByRole('status').filter({ hasText: `${devices.length - 1} of ${devices.length} taken` }).waitFor();
  await page.getByRole('listitem').filter({ hasText: devices[0] }).waitFor();
  const rows = commands.locator('button.waterfall__row').filter({ hasText: 'to-many' });
  await rows.nth(devices.length - 2).waitFor();
  expect(await rows.count() === devices.length - 1, 'each device has a command of its own, but for the one that is not there');
  await commands.getByRole('group', { name: 'Filter by state' }).getByRole('button', { name: /^Enqueued/ }).click();
  await commands.waitForURL(/state=/);
  await rows.nth(devices.length - 2).waitFor();

  const dead = await visit(somebody, '/commands');
  const row = dead.getByRole('table', { name: 'Commands that ended without effect' }).getByRole('row').filter({ hasText: called });
  await row.filter({ hasText: 'The device refused it' }).waitFor();
  await row.getByRole('button', { name: 'Again' }).click();
  const toast = dead.getByText(/Sent again as command \d+/);
  await toast.waitFor();
  const again = (await toast.innerText()).match(/\d+/)[0];
  expect(again !== rejected, 'it is a new command');
  report({ event: 'again', id: again });
  content(somebody);
  report({ event: 'end' });
});
