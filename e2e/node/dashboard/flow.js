// The message flow: what a device sends is on the screen; filters by device, property and text; the tail is paused, and goes on where it stood; one
// message is looked at as JSON, text and bytes; partitions and consumer groups are there.
//
// DASHBOARD, DEVICE, OTHER (whose messages the filter leaves out). Told a line each time the device has sent one: `one`, `two`, `three` are what
// they say; `two` has the property level=high.
'use strict';

const { report, run } = require('./browser');
const { after, content, expect, seen, visit, visitor } = require('./visit');

run(async (browser) => {
  const { DEVICE: device, OTHER: other } = process.env;
  const somebody = await visitor(browser);
  const page = await visit(somebody, '/flow');
  const rows = page.getByLabel('Message rows').getByRole('row').filter({ hasText: device });
  const others = page.getByLabel('Message rows').getByRole('row').filter({ hasText: other });
  await page.getByText('Nothing yet').waitFor();
  await after('one');
  report({ event: 'shown', at: await seen(rows.filter({ hasText: 'one' })) });
  await others.first().waitFor();

  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Go on' }).waitFor();
  await after('two');
  expect(await rows.filter({ hasText: 'two' }).count() === 0, 'nothing comes while it is paused');
  await page.getByRole('button', { name: 'Go on' }).click();
  await rows.filter({ hasText: 'two' }).waitFor();
  expect(await rows.count() === 2, 'it goes on where it stood: nothing is lost, and nothing there twice');

  const filter = page.getByPlaceholder(/device:pump/);
  await filter.fill(`device:${device} prop.level:high`);
  await page.waitForURL(/filter=/);
  await page.getByRole('button', { name: 'Earliest' }).click();
  await rows.filter({ hasText: 'two' }).waitFor();
  expect(await rows.count() === 1 && await others.count() === 0, 'by a property');
  await filter.fill('one');
  await rows.filter({ hasText: 'one' }).waitFor();
  expect(await rows.count() === 1, 'by text');
  const address = page.url();
  await page.reload();
  await rows.filter({ hasText: 'one' }).waitFor();
  expect(page.url() === address && await rows.count() === 1, 'the address is enough to see the same');

  await rows.first().click();
  const side = page.getByLabel('Chosen message');
  await side.getByText('"one"').waitFor();
  await side.getByRole('button', { name: 'Hex' }).click();
  await side.getByText('000000').waitFor();
  await side.getByRole('button', { name: 'Text' }).click();
  await page.getByRole('link', { name: 'Link to this position' }).click();
  await page.waitForURL(/from=sequence/);
  await rows.first().waitFor();
  const groups = page.getByRole('table', { name: 'Consumer groups' });
  await groups.getByText('$Default').waitFor();
  expect(await page.getByRole('table', { name: 'Partitions' }).getByRole('row').count() > 1, 'there are partitions');
  content(somebody);
  report({ event: 'end' });
});
