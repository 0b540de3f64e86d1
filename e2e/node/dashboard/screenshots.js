// Takes every page of the dashboard, light, dark and on a phone, into a folder, from a hub that is at work. Says how long each took to be there,
// and what it complained of.
//
// DASHBOARD (the link to sign in with), OUT (the folder), DEVICE (whose page), PAGES and SCREENS (with commas; absent: all), SETTLE_MS (how long
// to look before the picture is taken: 4 s).
'use strict';

const fs = require('fs');
const path = require('path');
const { SCREENS, complaints, context, report, run, signIn } = require('./browser');

const device = process.env.DEVICE || 'sim-0001';
const PAGES = {
  overview: '/dashboard/',
  devices: '/dashboard/devices',
  device: `/dashboard/devices/${encodeURIComponent(device)}?span=15m`,
  connectivity: '/dashboard/connectivity',
  flow: '/dashboard/flow',
  commands: '/dashboard/commands',
  command: '/dashboard/commands/3',
  compose: `/dashboard/compose?device=${encodeURIComponent(device)}`,
  audit: '/dashboard/audit',
  start: '/dashboard/start',
};

const listed = (names, all) => (names ? names.split(',') : Object.keys(all));

run(async (browser) => {
  const out = process.env.OUT;
  const origin = new URL(process.env.DASHBOARD).origin;
  fs.mkdirSync(out, { recursive: true });
  const storageState = await signIn(browser);
  for (const screen of listed(process.env.SCREENS, SCREENS)) {
    const screenful = await context(browser, { ...SCREENS[screen], storageState });
    for (const name of listed(process.env.PAGES, PAGES)) {
      const page = await screenful.newPage();
      const heard = complaints(page);
      const begun = Date.now();
      await page.goto(origin + PAGES[name]);
      await page.waitForSelector('h1');
      const shownMs = Date.now() - begun;
      await page.waitForTimeout(Number(process.env.SETTLE_MS || 4000));
      if (name === 'flow') await page.locator('.table--tail .table__row:not(.table__row--head)').first().click({ timeout: 2000 }).catch(() => {});
      // A window as tall as the page: what is fixed to its edges is where it belongs. The list of devices is as tall as the window, however many
      // there are.
      if (name !== 'devices') {
        const height = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.setViewportSize({ width: SCREENS[screen].viewport.width, height: Math.max(height, SCREENS[screen].viewport.height) });
        await page.waitForTimeout(300);
      }
      await page.screenshot({ path: path.join(out, `${name}-${screen}.png`) });
      report({ page: name, screen, shownMs, complaints: heard });
      await page.close();
    }
    await screenful.close();
    // Who is not signed in sees one page alone.
    const stranger = await context(browser, SCREENS[screen]);
    const page = await stranger.newPage();
    await page.goto(`${origin}/dashboard/`);
    await page.waitForSelector('h1');
    await page.screenshot({ path: path.join(out, `sign-in-${screen}.png`) });
    await stranger.close();
  }
});
