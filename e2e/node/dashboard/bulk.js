// Many devices: filtered, chosen, disabled at once with their number typed, enabled again, and given as CSV and as manifests.
//
// DASHBOARD, PREFIX and COUNT (how many begin so), OTHER (one that does not).
'use strict';

const fs = require('fs');
const { report, run } = require('./browser');
const { content, expect, visit, visitor } = require('./visit');

async function file(page, button) {
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: button }).click()]);
  return fs.readFileSync(await download.path(), 'utf8');
}

async function act(page, count, button, heading, verb) {
  await page.getByRole('checkbox', { name: 'Select all that fit' }).check();
  await page.getByRole('button', { name: button }).click();
  const dialog = page.getByRole('dialog', { name: heading });
  const sure = dialog.getByRole('button', { name: `${verb} ${count} devices` });
  expect(await sure.isDisabled(), 'nothing is done before the number is typed');
  await dialog.getByLabel(/^Type/).fill(String(count + 1));
  expect(await sure.isDisabled(), 'nothing is done when another number is typed');
  await dialog.getByLabel(/^Type/).fill(String(count));
  await sure.click();
  await dialog.getByRole('status').filter({ hasText: `${count} of ${count} done` }).waitFor();
  report({ event: verb, said: await dialog.getByRole('status').innerText() });
  await dialog.getByRole('button', { name: 'Done' }).click();
}

run(async (browser) => {
  const { PREFIX: prefix, OTHER: other } = process.env;
  const count = Number(process.env.COUNT);
  const somebody = await visitor(browser, { acceptDownloads: true });
  const page = await visit(somebody, `/devices?prefix=${prefix}&sort=id`);
  const foot = page.locator('.panel__foot');
  const rows = page.getByLabel('Device rows').getByRole('row').filter({ hasText: prefix });
  await foot.filter({ hasText: `of ${count} devices` }).waitFor();
  await act(page, count, 'Disable…', 'Disable these devices?', 'Disable');
  await rows.nth(count - 1).filter({ hasText: 'Disabled' }).waitFor();
  await page.getByRole('button', { name: /^Shut out/ }).click();
  await page.waitForURL(/held=/);
  await foot.filter({ hasText: `of ${count} devices` }).waitFor();
  const csv = await file(page, 'CSV');
  expect(csv.trim().split('\n').length === count + 1 && !csv.includes(other), `the table has the rows that fit:\n${csv}`);
  const manifests = await file(page, 'Manifests');
  expect(manifests.match(/^kind: Device$/gm).length === count, `a manifest for each:\n${manifests}`);
  report({ event: 'manifests', text: manifests });
  await page.getByRole('button', { name: /^Shut out/ }).click();
  await page.waitForURL((url) => !url.search.includes('held='));
  await foot.filter({ hasText: `of ${count} devices` }).waitFor();
  await act(page, count, 'Enable…', 'Enable these devices?', 'Enable');
  await rows.nth(count - 1).filter({ hasText: 'Never' }).waitFor();
  content(somebody);
  report({ event: 'end' });
});
