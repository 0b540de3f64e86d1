// The overview and the connectivity page of a hub that begins empty: first steps, then counts that follow what happens, refusals with their reason,
// and Get started with this hub's own name and authority.
//
// DASHBOARD, DEVICE, HOST, AUTHORITY (the certificate, PEM). Told a line when the device is registered, one when it is connected, and one when
// somebody was refused with its name and a wrong key.
'use strict';

const { report, run } = require('./browser');
const { after, content, expect, seen, visit, visitor } = require('./visit');

run(async (browser) => {
  const { DEVICE: device, HOST: host, AUTHORITY: authority } = process.env;
  const somebody = await visitor(browser);
  const page = await visit(somebody);
  await page.getByText('This hub has no devices yet').waitFor();
  await page.getByLabel('First steps').getByRole('link', { name: 'Get started' }).click();
  await page.getByRole('heading', { name: 'Get started' }).waitFor();
  for (const language of ['Python', 'Node', 'Java', 'C#', 'mosquitto', 'curl']) {
    await page.getByRole('group', { name: 'Language' }).getByRole('button', { name: new RegExp(`^${language}`) }).click();
    await page.locator('pre').filter({ hasText: host }).first().waitFor();
  }
  const shown = (await page.locator('pre').allInnerTexts()).join('\n');
  expect(shown.includes(authority.trim()), `the hub's authority is there:\n${shown}`);
  await page.getByLabel('Its id').fill(device);
  await page.locator('pre').filter({ hasText: `mooring-hub device create ${device}` }).waitFor();
  const connectivity = await visit(somebody, '/connectivity');
  await page.getByRole('navigation', { name: 'Main', exact: true }).getByRole('link', { name: 'Overview' }).click();
  await page.getByText('This hub has no devices yet').waitFor();

  await after('empty');
  await page.getByText('This hub has no devices yet').waitFor({ state: 'detached' });
  await page.getByText(/of 1 ·/).waitFor();
  await after('registered');
  report({ event: 'connected', at: await seen(page.getByText('of 1 · 100')) });
  await connectivity.getByText('1 of 1 connected').waitFor();
  const fact = page.getByLabel('Notable events, newest first').getByRole('listitem').filter({ hasText: device });
  await fact.filter({ hasText: 'Connected from' }).waitFor();
  await after('refuse');
  report({ event: 'refused', at: await seen(fact.filter({ hasText: 'Refused' })) });
  await connectivity.getByRole('listitem').filter({ hasText: device }).filter({ hasText: 'Wrong key' }).waitFor();
  const grid = connectivity.getByRole('img', { name: /^The fleet: .*\b1 connected/ });
  await grid.waitFor();
  content(somebody);
  report({ event: 'end' });
});
