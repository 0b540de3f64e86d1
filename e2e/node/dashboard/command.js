// A command is sent from a device's page, and its way is followed there, in the list of commands and on its own page up to its receipt. Reports
// when it was sent, and when each step was on the screen.
//
// DASHBOARD, DEVICE (connected; it completes what it gets), MESSAGE (the command's id). Told a line when its receipt was taken.
'use strict';

const { report, run } = require('./browser');
const { after, content, seen, visit, visitor } = require('./visit');

run(async (browser) => {
  const { DEVICE: device, MESSAGE: message } = process.env;
  const somebody = await visitor(browser);
  const list = await visit(somebody, '/commands');
  const page = await visit(somebody, `/devices/${device}`);
  await page.getByText('Connected: it goes out at once.').waitFor();
  await page.getByLabel('Payload').fill('{"open": true}');
  await page.getByLabel('Message id').fill(message);
  await page.getByLabel('Property name').fill('level');
  await page.getByLabel('Property value').fill('high');
  await page.getByRole('button', { name: 'Send command' }).click();
  report({ event: 'sent', at: Date.now() });
  const row = page.getByLabel('Merged timeline, newest first').getByRole('listitem').filter({ hasText: message });
  const listed = list.locator('button.waterfall__row').filter({ hasText: message });
  const screens = { device: row.filter({ hasText: /completed/i }), commands: listed.filter({ hasText: 'Completed' }) };
  await Promise.all(Object.entries(screens).map(async ([screen, locator]) => report({ event: 'acknowledged', screen, at: await seen(locator) })));
  if (await row.count() !== 1) throw new Error(`the command has ${await row.count()} rows, and should have one that changes in place`);
  await listed.click();
  await list.getByRole('link', { name: 'Details' }).click();
  await list.waitForURL(/\/dashboard\/commands\/\d+$/);
  const id = list.url().split('/').pop();
  await after('waiting', { id });
  report({ event: 'read', at: await seen(list.locator('.waterfall__step').filter({ hasText: /receipt read/i })) });
  content(somebody);
  report({ event: 'end' });
});
