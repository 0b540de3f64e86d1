// Every page of the dashboard, with what somebody opens on it, and when it is whole: for those who look at all of them.
//
// DEVICE (whose page), COMPLETED and REJECTED (numbers of commands that ended so).
'use strict';

const device = process.env.DEVICE || 'sim-0001';
const named = encodeURIComponent(device);

// Below `/dashboard`.
const PAGES = {
  overview: { path: '/?range=15m' },
  devices: { path: '/devices' },
  filters: { path: '/devices', open: (page) => page.getByRole('button', { name: /^Filter/ }).click() },
  chosen: {
    path: '/devices',
    async open(page) {
      // A phone has no head above the rows, and so no box for all of them.
      for (const row of [0, 1, 2]) await page.getByLabel('Device rows').getByRole('checkbox', { name: /^Select (?!all)/ }).nth(row).check();
      await page.getByRole('region', { name: 'Selected devices' }).waitFor();
    },
  },
  device: { path: `/devices/${named}?span=15m` },
  shutting: {
    path: `/devices/${named}`,
    async open(page) {
      await page.getByRole('button', { name: 'Disable…' }).click();
      await page.getByRole('dialog').waitFor();
    },
  },
  connectivity: { path: '/connectivity?range=15m' },
  flow: { path: '/flow?from=earliest', open: (page) => page.getByLabel('Message rows').getByRole('row').nth(1).click() },
  commands: { path: '/commands', open: (page) => page.locator('button.waterfall__row').first().click() },
  command: { path: `/commands/${process.env.COMPLETED || '1'}` },
  rejected: { path: `/commands/${process.env.REJECTED || '1'}` },
  compose: { path: `/compose?device=${named}` },
  audit: { path: '/audit' },
  start: { path: '/start' },
  nowhere: { path: '/nowhere' },
  more: { path: '/', only: /-390$/, open: (page) => page.getByRole('button', { name: 'More' }).click() },
};

// Those that are named, with commas; all, when none is.
function listed(names, all) {
  return names ? names.split(',') : Object.keys(all);
}

// Those of them that there are on a screen: some are a phone's alone.
function pagesOn(screen) {
  return listed(process.env.PAGES, PAGES).filter((name) => !PAGES[name].only || PAGES[name].only.test(screen));
}

// What the hub is asked is here, and drawn.
async function whole(page) {
  await page.locator('main h1').first().waitFor();
  await page.evaluate(() => new Promise((resolve) => {
    const look = () => (document.querySelector('main .skeleton') ? requestAnimationFrame(look) : resolve());
    look();
  }));
  await page.evaluate(async () => {
    await document.fonts.ready;
    await new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); });
  });
}

module.exports = { PAGES, listed, pagesOn, whole };
