// A device is shut out on its page: the page says how long its connection took to close, and lets it in again; the audit says who did it and why.
//
// DASHBOARD, DEVICE (connected), WHY. Told a line when the device is back.
'use strict';

const { report, run } = require('./browser');
const { after, content, expect, seen, visit, visitor } = require('./visit');

run(async (browser) => {
  const { DEVICE: device, WHY: why } = process.env;
  const somebody = await visitor(browser);
  const page = await visit(somebody, `/devices/${device}`);
  const audit = await visit(somebody, `/audit?device=${device}`);
  const head = page.locator('.page__head');
  await head.getByText('Connected', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Disable…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Disable this device?' });
  await dialog.getByText('Its connection closes within a second').waitFor();
  await dialog.getByLabel('Reason').fill(why);
  await dialog.getByRole('button', { name: 'Disable device' }).click();
  const clicked = Date.now();
  const toast = page.getByText(/Its connection was closed in /);
  const at = await seen(toast);
  report({ event: 'closed', said: await toast.innerText(), afterMs: at - clicked });
  await head.getByText('Disabled', { exact: true }).waitFor();
  await head.getByText('shut out by').waitFor();
  const entry = audit.getByRole('row').filter({ hasText: why });
  await entry.filter({ hasText: /disabled/i }).waitFor();
  expect(await entry.count() === 1, 'the audit has it once');
  await page.getByRole('button', { name: 'Enable', exact: true }).click();
  await head.getByText('Offline', { exact: true }).waitFor();
  await after('enabled');
  report({ event: 'back', at: await seen(head.getByText('Connected', { exact: true })) });
  content(somebody);
  report({ event: 'end' });
});
