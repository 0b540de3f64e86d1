// Takes every page of the dashboard, light, dark and on a phone, into a folder, from a hub that is at work. Says how long each took to be there.
//
// DASHBOARD (the link to sign in with), OUT (the folder), PAGES and SCREENS (with commas; absent: all), and what pages.js wants.
'use strict';

const fs = require('fs');
const path = require('path');
const { SCREENS, context, origin, reach, report, run, signIn } = require('./browser');
const { PAGES, listed, pagesOn, whole } = require('./pages');
const { content, guest, visit } = require('./visit');

async function take(somebody, screen, name, out) {
  const begun = Date.now();
  const page = await visit(somebody, PAGES[name].path);
  await page.locator('main h1').first().waitFor();
  const shownMs = Date.now() - begun;
  await whole(page);
  if (PAGES[name].open) await PAGES[name].open(page);
  // A window as tall as the page: what is fixed to its edges is where it belongs. The list of devices is as tall as the window, however many
  // there are.
  if (PAGES[name].path !== '/devices') {
    const height = await page.evaluate(() => document.documentElement.scrollHeight);
    await page.setViewportSize({ width: SCREENS[screen].viewport.width, height: Math.max(height, SCREENS[screen].viewport.height) });
  }
  await whole(page);
  await page.screenshot({ path: path.join(out, `${name}-${screen}.png`) });
  report({ event: 'taken', page: name, screen, shownMs });
  await page.close();
}

run(async (browser) => {
  const out = process.env.OUT;
  fs.mkdirSync(out, { recursive: true });
  const storageState = await signIn(browser);
  for (const screen of listed(process.env.SCREENS, SCREENS)) {
    const somebody = await guest(browser, { ...SCREENS[screen], storageState });
    for (const name of pagesOn(screen)) await take(somebody, screen, name, out);
    await somebody.context.close();
    content(somebody);
    // Who is not signed in sees one page alone.
    const stranger = await context(browser, SCREENS[screen]);
    const page = await stranger.newPage();
    await reach(page, `${origin()}/dashboard/`);
    await whole(page);
    await page.screenshot({ path: path.join(out, `sign-in-${screen}.png`) });
    report({ event: 'taken', page: 'sign-in', screen });
    await stranger.close();
  }
  report({ event: 'end', out });
});
