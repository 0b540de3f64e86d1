// Who looks on sees a device go, and why: on its own page, in the overview's events and in the list. Reports when each was on the screen.
//
// DASHBOARD, DEVICE (connected), REASON (as people read it). Told a line when it has been killed.
'use strict';

const { report, run } = require('./browser');
const { after, content, live, seen, visit, visitor } = require('./visit');

run(async (browser) => {
  const { DEVICE: device, REASON: reason } = process.env;
  const somebody = await visitor(browser);
  const own = await visit(somebody, `/devices/${device}`);
  const overview = await visit(somebody);
  const list = await visit(somebody, `/devices?prefix=${device}`);
  const head = own.locator('.page__head');
  const row = list.getByRole('row').filter({ hasText: device });
  await head.getByText('Connected', { exact: true }).waitFor();
  await row.getByText('Connected', { exact: true }).waitFor();
  const fact = overview.getByLabel('Notable events, newest first').getByRole('listitem').filter({ hasText: device });
  await after('looking');
  const screens = {
    device: head.filter({ hasText: 'Offline' }).filter({ hasText: reason }),
    overview: fact.filter({ hasText: `Disconnected: ${reason}` }),
    list: row.filter({ hasText: 'Offline' }).filter({ hasText: new RegExp(reason, 'i') }),
  };
  await Promise.all(Object.entries(screens).map(async ([screen, locator]) => report({ event: 'gone', screen, at: await seen(locator) })));
  await live(own);
  content(somebody);
  report({ event: 'end' });
});
