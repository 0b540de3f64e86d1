// Takes every page of the dashboard, light, dark and on a phone, into a folder, from a hub that is at work. Says how long each took to be there.
//
// DASHBOARD (the link to sign in with), OUT (the folder), PAGES and SCREENS (with commas; absent: all), and what pages.js wants.
'use strict';

const fs = require('fs');
const path = require('path');
const { SCREENS, origin, report, run, signIn } = require('./browser');
const { OF_A_REFUSAL, PAGES, STRANGERS, listed, pagesOn, strange, whole } = require('./pages');
const { OF_A_CUT_LINE, content, guest, visit } = require('./visit');
const { line } = require('./line');

// How often a page is taken that grows while it is.
const TRIES = 10;

// In a window as tall as the page: what is fixed to its edges is where it belongs.
async function draw(page, screen, file) {
  const { width, height } = SCREENS[screen].viewport;
  // A list that is as tall as the window would grow with it for ever.
  await page.evaluate(() => {
    for (const list of document.querySelectorAll('.table__view')) list.style.height = `${list.offsetHeight}px`;
  });
  const measure = () => page.evaluate(() => document.documentElement.scrollHeight);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const tall = await measure();
    await page.setViewportSize({ width, height: Math.max(tall, height) });
    await whole(page);
    await page.screenshot({ path: file });
    if (await measure() <= Math.max(tall, height)) return;
  }
}

async function take(somebody, screen, name, out) {
  const begun = Date.now();
  const page = await visit(somebody, PAGES[name].path);
  await page.locator('main h1').first().waitFor();
  const shownMs = Date.now() - begun;
  await whole(page);
  if (PAGES[name].open) await PAGES[name].open(page);
  await whole(page);
  await draw(page, screen, path.join(out, `${name}-${screen}.png`));
  report({ event: 'taken', page: name, screen, shownMs });
  await page.close();
}

// The page on a phone while there is no way to the hub.
async function takeCut(somebody, cut, out) {
  const page = await visit(somebody);
  await whole(page);
  await cut.cut();
  await page.getByRole('alert').filter({ hasText: 'Live link down since' }).waitFor();
  await draw(page, 'dark-390', path.join(out, 'overview-down-dark-390.png'));
  await cut.mend();
  report({ event: 'taken', page: 'overview-down', screen: 'dark-390' });
  await page.close();
}

async function takeAll(browser, cut) {
  const out = process.env.OUT;
  fs.mkdirSync(out, { recursive: true });
  const storageState = await signIn(browser);
  for (const screen of listed(process.env.SCREENS, SCREENS)) {
    const somebody = await guest(browser, { harmless: [OF_A_CUT_LINE], ...SCREENS[screen], storageState });
    for (const name of pagesOn(screen)) await take(somebody, screen, name, out);
    if (screen === 'dark-390') await takeCut(somebody, cut, out);
    await somebody.context.close();
    content(somebody);
    const stranger = await guest(browser, { harmless: [OF_A_REFUSAL], ...SCREENS[screen] });
    for (const name of pagesOn(screen, STRANGERS)) {
      const page = await strange(stranger, name);
      await draw(page, screen, path.join(out, `${name}-${screen}.png`));
      report({ event: 'taken', page: name, screen });
      await page.close();
    }
    await stranger.context.close();
    content(stranger);
  }
  report({ event: 'end', out });
}

(async () => {
  const { hostname, port } = new URL(origin());
  const cut = await line(hostname, port);
  run((browser) => takeAll(browser, cut), cut.rule);
})();
