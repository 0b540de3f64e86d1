// Commands that ended without effect are sent again: one by its own button, then all that are left. None is offered twice, and the audit says who.
//
// DASHBOARD (the page's address), NAME and PASSWORD, FIRST and REST (what the commands are called; with commas). Told a line when the first has
// arrived.
'use strict';

const { report, run } = require('./browser');
const { after, content, expect, member, visit } = require('./visit');

run(async (browser) => {
  const { NAME: name, PASSWORD: password, FIRST: first } = process.env;
  const rest = process.env.REST.split(',');
  const somebody = await member(browser, name, password);
  const audit = await visit(somebody, `/audit?who=${name}`);
  const page = await visit(somebody, '/commands?state=DeadLettered');
  const dead = page.getByRole('table', { name: 'Commands that ended without effect' });
  const ended = (called) => dead.getByRole('row').filter({ hasText: called });
  const listed = (called) => page.locator('button.waterfall__row').filter({ hasText: called });
  for (const called of [first, ...rest]) {
    await ended(called).waitFor();
    await listed(called).waitFor();
  }
  await ended(first).getByRole('button', { name: 'Again' }).click();
  // Nothing moves under the pointer: its row goes once nobody points at the table.
  await ended(first).getByRole('link', { name: /^Sent again as \d+$/ }).waitFor();
  await listed(first).click();
  await ended(first).waitFor({ state: 'detached' });
  const where = page.getByRole('link', { name: /^Sent again as \d+$/ });
  await where.waitFor();
  expect(await page.getByRole('button', { name: 'Send again', exact: true }).count() === 0, 'what was sent again is not offered once more');
  await after('one', { id: (await where.innerText()).match(/\d+/)[0] });

  await page.getByRole('button', { name: `Send all ${rest.length} again…` }).click();
  const dialog = page.getByRole('dialog', { name: 'Send them all again?' });
  await dialog.getByText('A device may have carried out one of them').waitFor();
  await dialog.getByRole('button', { name: `Send ${rest.length} commands again` }).click();
  const said = dialog.getByRole('status').filter({ hasText: `${rest.length} of ${rest.length} sent again.` });
  await said.waitFor();
  report({ event: 'all', said: await said.innerText() });
  await dialog.getByRole('button', { name: 'Done' }).click();
  for (const called of rest) await ended(called).waitFor({ state: 'detached' });
  expect(await page.getByRole('button', { name: /^Send all/ }).count() === 0, 'nothing is left to be sent again');
  const entries = audit.getByRole('table', { name: 'Entries' }).getByRole('row').filter({ hasText: 'Command sent again' });
  await entries.nth(rest.length).waitFor();
  expect(await entries.filter({ hasText: name }).count() === rest.length + 1, 'the audit has each under the name of who did it');

  // A page that is opened now knows it from the hub.
  const later = await visit(somebody, '/commands');
  await later.getByText('Commands that expire, are rejected or are given up are here').waitFor();
  content(somebody);
  report({ event: 'end' });
});
