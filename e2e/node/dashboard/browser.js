// A browser for the dashboard's stories: Debian's Chromium, with a profile of its own, and nothing that it does by itself.
//
// DASHBOARD: the link to sign in with, good once. CHROMIUM: another browser than /usr/bin/chromium.
'use strict';

const { chromium } = require('playwright-core');

// How a screen is that somebody looks at.
const SCREENS = {
  'light-1440': { colorScheme: 'light', viewport: { width: 1440, height: 1000 } },
  'dark-1440': { colorScheme: 'dark', viewport: { width: 1440, height: 1000 } },
  'light-900': { colorScheme: 'light', viewport: { width: 900, height: 900 } },
  'light-390': { colorScheme: 'light', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  'dark-390': { colorScheme: 'dark', viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
};

function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync',
    ],
  });
}

// A context of the hub's page. The hub's authority is not this browser's.
function context(browser, options = {}) {
  return browser.newContext({ ignoreHTTPSErrors: true, ...SCREENS['light-1440'], ...options });
}

// Everything that the page complains of. A refusal by the Content-Security-Policy is one, and so is whatever breaks.
function complaints(page) {
  const heard = [];
  page.on('console', (message) => { if (message.type() === 'error') heard.push(message.text()); });
  page.on('pageerror', (error) => heard.push(String(error)));
  return heard;
}

// Signs in with the link, and answers what a context needs to be signed in.
async function signIn(browser) {
  const first = await context(browser);
  const page = await first.newPage();
  await page.goto(process.env.DASHBOARD);
  await page.waitForSelector('.nav');
  const state = await first.storageState();
  await first.close();
  return state;
}

function report(told) {
  console.log(JSON.stringify(told));
}

// A story: given a browser, ended whatever comes of it.
function run(story) {
  (async () => {
    const browser = await launch();
    try {
      await story(browser);
    } finally {
      await browser.close();
    }
  })().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

module.exports = { SCREENS, complaints, context, report, run, signIn };
