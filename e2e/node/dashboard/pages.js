// Every page of the dashboard, with what somebody opens on it, and when it is whole: for those who look at all of them.
//
// DEVICE (whose page), SHUT_OUT, NEVER_SEEN and LONG (devices that are so, by the last the name), COMPLETED and REJECTED (numbers of commands that
// ended so).
'use strict';

const { complaints, origin, reach } = require('./browser');

const named = encodeURIComponent(process.env.DEVICE || 'sim-0001');
const of = (id) => `/devices/${encodeURIComponent(process.env[id] || 'sim-0001')}`;

// What differs from another picture in little is looked at on two screens alone.
const TWO = /^(light-1440|dark-390)$/;

// Below `/dashboard`.
const PAGES = {
  // The line has an end when the past is known.
  overview: { path: '/?range=15m', open: (page) => page.locator('.chart--main circle').waitFor({ state: 'attached' }) },
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
  'shut-out': { path: of('SHUT_OUT'), only: TWO },
  'never-seen': { path: of('NEVER_SEEN'), only: TWO },
  'long-id': { path: of('LONG'), only: TWO },
  sent: {
    path: `/devices/${named}?span=1h`,
    only: TWO,
    async open(page) {
      await page.getByLabel('Payload').fill('{ "defrost": true }');
      await page.getByRole('button', { name: /^(Send|Queue) command$/ }).click();
      await page.locator('.toast').waitFor();
    },
  },
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

// What somebody who is not signed in sees: of a hub of `mooring-hub dev`, of one with every way to sign in, and when it refuses.
const METHODS = [
  { method: 'password' },
  { method: 'openid', start: '/api/v1/session/openid', issuer: 'https://issuer.example' },
  { method: 'kubernetes', command: 'kubectl create token on-call --audience https://hub.mooring.test' },
];
const STRANGERS = {
  'sign-in': {},
  'sign-in-ways': { methods: METHODS, only: TWO },
  'sign-in-refused': {
    methods: METHODS.slice(0, 1),
    only: TWO,
    async open(page) {
      await page.getByLabel('Name').fill('kim');
      await page.getByLabel('Password').fill('a guess');
      await page.getByRole('button', { name: 'Sign in' }).click();
      await page.getByRole('alert').filter({ hasText: /\S/ }).waitFor();
    },
  },
};

// What the browser says of the refusal.
const OF_A_REFUSAL = /status of 403 .*\/api\/v1\/session\b/;

// Such a page, of somebody who has opened nothing yet.
async function strange(somebody, name) {
  const { methods, open } = STRANGERS[name];
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  if (methods) {
    const json = { signedIn: false, rights: [], methods };
    await page.route('**/api/v1/session', (route) => (route.request().method() === 'GET' ? route.fulfill({ json }) : route.continue()));
  }
  await reach(page, `${origin()}/dashboard/`);
  await whole(page);
  if (open) await open(page);
  await whole(page);
  return page;
}

// Those that are named, with commas; all, when none is.
function listed(names, all) {
  return names ? names.split(',') : Object.keys(all);
}

// Those of them that there are on a screen: some are a phone's alone.
function pagesOn(screen, pages = PAGES) {
  return listed(process.env.PAGES, pages).filter((name) => pages[name] && (!pages[name].only || pages[name].only.test(screen)));
}

// What the hub is asked is here, and drawn.
async function whole(page) {
  await page.locator('main h1').first().waitFor();
  await page.evaluate(() => new Promise((resolve) => {
    const look = () => (document.querySelector('main .skeleton, .topbar__hub code:empty') ? requestAnimationFrame(look) : resolve());
    look();
  }));
  await page.evaluate(async () => {
    await document.fonts.ready;
    // What rises has risen. What turns while something is busy turns for ever.
    const rising = document.getAnimations().filter((one) => one.effect.getTiming().iterations === 1);
    await Promise.allSettled(rising.map((one) => one.finished));
    await new Promise((resolve) => { requestAnimationFrame(() => requestAnimationFrame(resolve)); });
  });
}

module.exports = { OF_A_REFUSAL, PAGES, STRANGERS, listed, pagesOn, strange, whole };
