// A browser for the dashboard's stories: Debian's Chromium, with a profile of its own, and nothing that it does by itself.
//
// DASHBOARD: the link to sign in with, good once, or, where people have passwords, the page's address.
// CHROMIUM: another browser than /usr/bin/chromium.
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

function launch(more) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', ...more,
    ],
  });
}

// How long one thing is waited for: less than the story waits for a word of this script, so that what did not come has a name.
const ONE_EVENT_MS = 50_000;

// A context of the hub's page. The hub's authority is not this browser's.
async function context(browser, options = {}) {
  const made = await browser.newContext({ ignoreHTTPSErrors: true, ...SCREENS['light-1440'], ...options });
  made.setDefaultTimeout(ONE_EVENT_MS);
  return made;
}

// Everything that the page complains of. A refusal by the Content-Security-Policy is one, and so is whatever breaks, asks somebody something in
// a window of its own, or wants something of another host.
function complaints(page, heard = []) {
  const own = origin();
  page.on('console', (message) => { if (message.type() === 'error') heard.push(`${message.text()} (${message.location().url})`); });
  page.on('pageerror', (error) => heard.push(String(error)));
  page.on('dialog', (dialog) => {
    heard.push(`a window that says ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on('request', (request) => {
    const asked = new URL(request.url());
    if (asked.protocol.startsWith('http') && asked.origin !== own) heard.push(`a request to ${asked.origin}`);
  });
  return heard;
}

// Where the hub is.
function origin() {
  return new URL(process.env.DASHBOARD).origin;
}

// Goes to an address of the page. A hub without one is no hub to tell a story of it with.
async function reach(page, address) {
  const answer = await page.goto(address);
  if (answer && answer.status() === 404) {
    throw new Error('this hub was built without the dashboard: run `make dashboard`, then `make hub`, and the story once more');
  }
}

// Signs in with the link, and answers what a context needs to be signed in.
async function signIn(browser) {
  const first = await context(browser);
  const page = await first.newPage();
  await reach(page, process.env.DASHBOARD);
  await page.waitForSelector('.nav', { state: 'attached' });
  const state = await first.storageState();
  await first.close();
  return state;
}

function report(told) {
  console.log(JSON.stringify(told));
}

// A story: given a browser, ended whatever comes of it. `more` are arguments of the browser's.
function run(story, ...more) {
  (async () => {
    const browser = await launch(more);
    try {
      await story(browser);
    } finally {
      await browser.close();
    }
  })().then(
    // It may still listen for what it is told.
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { SCREENS, complaints, context, origin, reach, report, run, signIn };
