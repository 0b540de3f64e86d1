// What is looked at is in the address: another tab that is given it shows the same, the way back leads back to it, and so does the way forth.
//
// DASHBOARD, CONNECTED and NEVER (devices whose ids begin with PREFIX; the first has sent messages, the other was never there), OTHER (one whose id
// begins otherwise, which has sent messages, too), DONE and WAITS (what commands are called).
'use strict';

const { report, run } = require('./browser');
const { OF_AN_ENDED_SESSION, content, expect, visit, visitor } = require('./visit');

const { CONNECTED: connected, NEVER: never, OTHER: other, PREFIX: prefix, DONE: done, WAITS: waits } = process.env;

const pressed = (page, name) => page.getByRole('button', { name, pressed: true });

// By the rail, to a page as it is without filters.
async function rail(page, name) {
  await page.getByRole('navigation', { name: 'Main', exact: true }).getByRole('link', { name }).click();
  await page.waitForURL((url) => url.search === '');
}

// Waits until the field says so.
async function says(field, text) {
  const page = field.page();
  await page.waitForFunction(([element, wanted]) => element.value === wanted, [await field.elementHandle(), text]);
}

const views = {
  devices: {
    path: '/devices',
    name: 'Devices',
    async choose(page) {
      await page.getByPlaceholder('id starts with…').fill(prefix);
      await page.waitForURL(/prefix=/);
      await page.getByRole('button', { name: /^Never seen/ }).click();
      await page.waitForURL(/state=/);
      await page.getByRole('columnheader', { name: 'Device' }).getByRole('button').click();
      await page.waitForURL(/sort=id/);
    },
    async chosen(page) {
      const rows = page.getByLabel('Device rows').getByRole('row');
      await rows.filter({ hasText: never }).waitFor();
      await page.locator('.panel__foot').filter({ hasText: 'of 1 device' }).waitFor();
      expect(await rows.filter({ hasText: connected }).count() === 0, 'the state is a filter');
      await pressed(page, /^Never seen/).waitFor();
      await page.locator('[role=columnheader][aria-sort=ascending]').filter({ hasText: 'Device' }).waitFor();
      await says(page.getByPlaceholder('id starts with…'), prefix);
    },
    async all(page) {
      await page.locator('.panel__foot').filter({ hasText: 'of 3 devices' }).waitFor();
      await says(page.getByPlaceholder('id starts with…'), '');
      expect(await pressed(page, /^Never seen/).count() === 0, 'a filter looks as if it were on');
    },
    into: (page) => page.getByLabel('Device rows').getByRole('link', { name: never }).click(),
    within: (page) => page.getByRole('heading', { name: never }).waitFor(),
  },
  flow: {
    path: '/flow',
    name: 'Message flow',
    async choose(page) {
      await page.getByPlaceholder(/device:pump/).fill(`device:${connected}`);
      await page.waitForURL(/filter=/);
      await page.getByRole('button', { name: 'Earliest' }).click();
      await page.waitForURL(/from=earliest/);
    },
    async chosen(page) {
      const rows = page.getByLabel('Message rows').getByRole('row');
      await rows.filter({ hasText: connected }).waitFor();
      expect(await rows.filter({ hasText: other }).count() === 0, 'the filter leaves out the other');
      await pressed(page, 'Earliest').waitFor();
      await says(page.getByPlaceholder(/device:pump/), `device:${connected}`);
    },
    async all(page) {
      await pressed(page, 'Latest').waitFor();
      await says(page.getByPlaceholder(/device:pump/), '');
    },
    into: (page) => rail(page, 'Overview'),
    within: (page) => page.getByRole('heading', { name: 'Overview' }).waitFor(),
  },
  commands: {
    path: '/commands',
    name: 'Commands',
    async choose(page) {
      await page.getByRole('group', { name: 'Filter by state' }).getByRole('button', { name: /^Completed/ }).click();
      await page.waitForURL(/state=Completed/);
    },
    async chosen(page) {
      const rows = page.locator('button.waterfall__row');
      await rows.filter({ hasText: done }).waitFor();
      await rows.filter({ hasText: waits }).waitFor({ state: 'detached' });
      await pressed(page, /^Completed/).waitFor();
    },
    async all(page) {
      const rows = page.locator('button.waterfall__row');
      await rows.filter({ hasText: done }).waitFor();
      await rows.filter({ hasText: waits }).waitFor();
      expect(await pressed(page, /^Completed/).count() === 0, 'a filter looks as if it were on');
    },
    async into(page) {
      await page.locator('button.waterfall__row').filter({ hasText: done }).click();
      await page.getByRole('link', { name: 'Details' }).click();
    },
    within: (page) => page.getByRole('heading', { name: done }).waitFor(),
  },
};

// A view, in the address; what another tab shows that is given it; and the way back, which is no longer than what was gone through.
async function goes(somebody, { path, name, choose, chosen, all, into, within }) {
  const page = await visit(somebody, path);
  await all(page);
  await choose(page);
  await chosen(page);
  const address = page.url();
  const shared = await visit(somebody, new URL(address).pathname.replace('/dashboard', '') + new URL(address).search);
  await chosen(shared);
  await shared.close();

  await into(page);
  await within(page);
  const inside = page.url();
  await page.goBack();
  await chosen(page);
  expect(page.url() === address, `back at ${page.url()}, not at ${address}`);
  await page.goForward();
  await within(page);
  expect(page.url() === inside, `forth at ${page.url()}, not at ${inside}`);
  await page.goBack();
  await chosen(page);
  // The same page without its filters is a step of its own.
  await rail(page, name);
  await all(page);
  await page.goBack();
  await chosen(page);
  expect(page.url() === address, `back at ${page.url()}, not at ${address}`);
  report({ event: 'gone', to: address });
  return page;
}

async function timeline(somebody) {
  const page = await visit(somebody, `/devices/${connected}`);
  await page.getByRole('group', { name: 'Span' }).getByRole('button', { name: '6 h' }).click();
  await page.waitForURL(/span=6h/);
  await page.getByRole('group', { name: 'Kinds' }).getByRole('button', { name: 'Connection' }).click();
  await page.waitForURL(/kind=connection/);
  const facts = (tab) => tab.getByLabel('Merged timeline, newest first').locator('.timeline__text');
  await facts(page).filter({ hasText: 'Connected' }).waitFor();
  await facts(page).filter({ hasText: 'Registered' }).waitFor({ state: 'detached' });
  const axis = (tab) => tab.getByRole('slider', { name: 'What is shown of the last 24 hours' });
  await axis(page).press('ArrowLeft');
  await page.waitForURL(/until=/);
  const stretch = await axis(page).getAttribute('aria-valuetext');
  const [address, where] = [page.url(), new URL(page.url())];
  const shared = await visit(somebody, `/devices/${connected}${where.search}`);
  const same = async (tab) => {
    await pressed(tab, '6 h').waitFor();
    await pressed(tab, 'Connection').waitFor();
    const there = await axis(tab).getAttribute('aria-valuetext');
    expect(there === stretch, `the axis is ${there}, not ${stretch}`);
  };
  await same(shared);
  await rail(page, 'Devices');
  await page.getByRole('heading', { name: 'Devices' }).waitFor();
  await page.goBack();
  await same(page);
  expect(page.url() === address, `back at ${page.url()}, not at ${address}`);
  report({ event: 'gone', to: address });
  return shared;
}

run(async (browser) => {
  const somebody = await visitor(browser, { harmless: [OF_AN_ENDED_SESSION] });
  const tabs = [];
  for (const view of Object.values(views)) tabs.push(await goes(somebody, view));
  tabs.push(await timeline(somebody));
  // Signing out in one of them is signing out in all.
  await tabs.pop().getByRole('button', { name: 'Sign out' }).first().click();
  for (const tab of tabs) await tab.getByRole('heading', { name: 'Sign in' }).waitFor();
  content(somebody);
  report({ event: 'end' });
});
