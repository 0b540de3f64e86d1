// The line to the hub is cut while much happens: the page says since when, keeps what it shows, and afterwards has each change exactly once.
//
// DASHBOARD, DEVICES (with commas: each connects and goes once while the line is cut), SEEN (one that did so before), OUT (a folder for a picture of the
// page while it is). Told a line when they have.
'use strict';

const path = require('path');
const { origin, report, run } = require('./browser');
const { OF_A_CUT_LINE, after, content, expect, live, seen, visit, visitor } = require('./visit');
const { line } = require('./line');

function facts(list, device) {
  return list.getByRole('listitem').filter({ has: list.page().getByText(device, { exact: true }) });
}

async function once(list, devices) {
  for (const device of devices) {
    for (const text of ['Connected from', 'Disconnected: closed by the device']) {
      const found = await facts(list, device).filter({ hasText: text }).count();
      expect(found === 1, `${device}: "${text}" is there ${found} times`);
    }
  }
}

async function tell(browser, cut) {
  const devices = process.env.DEVICES.split(',');
  const before = process.env.SEEN;
  const somebody = await visitor(browser, { harmless: [OF_A_CUT_LINE] });
  const page = await visit(somebody);
  const own = await visit(somebody, `/devices/${devices[0]}`);
  const list = page.getByLabel('Notable events, newest first');
  await after('looking');
  await facts(list, before).filter({ hasText: 'Disconnected' }).waitFor();
  await cut.cut();
  const began = Date.now();
  const said = page.getByRole('alert').filter({ hasText: 'Live link down since' });
  const at = await seen(said);
  report({ event: 'down', said: await said.innerText(), afterMs: at - began });
  await once(list, [before]);
  await page.screenshot({ path: path.join(process.env.OUT, 'overview-down-light-1440.png') });
  await after('cut');
  await cut.mend();
  await live(page);
  const back = page.getByRole('status').filter({ hasText: 'What happened meanwhile is here' });
  report({ event: 'back', said: await back.innerText() });
  // The last of them is the newest: with it, all are there.
  await facts(list, devices.at(-1)).filter({ hasText: 'Disconnected' }).waitFor();
  await once(list, [before, ...devices]);
  await live(own);
  const story = own.getByLabel('Merged timeline, newest first').locator('.timeline__text');
  await story.filter({ hasText: 'Disconnected' }).waitFor();
  const told = await story.allInnerTexts();
  for (const text of ['Connected', 'Disconnected: closed by the device']) {
    const found = told.filter((one) => one === text).length;
    expect(found === 1, `${devices[0]}'s own page says "${text}" ${found} times`);
  }
  content(somebody);
  report({ event: 'end' });
}

(async () => {
  const { hostname, port } = new URL(origin());
  const cut = await line(hostname, port);
  run((browser) => tell(browser, cut), cut.rule);
})();
