// The hub comes back as another version under an open page: a bar says so and offers to load the page that belongs to it, which is done when somebody
// presses it, and no sooner.
//
// DASHBOARD (the page's address), NAME and PASSWORD, DEVICE. Told a line when the hub has been restarted. It is the same program: what it says of its
// version is made another on the way, from then on.
'use strict';

const { complaints, origin, reach, report, run } = require('./browser');
const { OF_A_CUT_LINE, OF_AN_ENDED_SESSION, after, content, expect, guest, live, signInAs } = require('./visit');

const VERSION = '77.1.0';

// The hub's word on itself, with another version in it.
async function asAnother(route) {
  const request = route.request();
  const answer = await route.fetch({ headers: { ...request.headers(), origin: origin() } });
  const json = answer.ok() ? { ...await answer.json(), version: VERSION } : undefined;
  await route.fulfill({ response: answer, json });
}

run(async (browser) => {
  const { NAME: name, PASSWORD: password, DEVICE: device } = process.env;
  const somebody = await guest(browser, { harmless: [OF_A_CUT_LINE, OF_AN_ENDED_SESSION] });
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  const address = `${origin()}/dashboard/devices/${device}?span=15m`;
  await reach(page, address);
  await signInAs(page, name, password);
  await live(page);
  const version = page.locator('.nav__more').filter({ hasText: /\d+\.\d+/ });
  await version.waitFor();
  const bar = page.getByRole('status').filter({ hasText: 'The hub has been updated' });
  expect(await bar.count() === 0, 'the page is of this version');
  await after('looking', { version: await version.innerText() });

  await somebody.context.route('**/api/v1/hub', asAnother);
  // The hub keeps sessions in memory: whoever was signed in is a stranger to it now.
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await signInAs(page, name, password);
  await live(page);
  await bar.filter({ hasText: `to ${VERSION}. This page is of the one before.` }).waitFor();
  const payload = page.getByLabel('Payload');
  await payload.fill('half a command');
  // It asks now and then what the hub is.
  await page.waitForResponse('**/api/v1/hub');
  await live(page);
  expect(await bar.count() === 1, 'it is said until the page is another');
  expect(await payload.inputValue() === 'half a command', 'what was typed is lost before anybody wanted that');

  const loaded = page.waitForResponse((answer) => answer.request().isNavigationRequest());
  await bar.getByRole('button', { name: 'Reload' }).click();
  expect((await loaded).url() === address, `${(await loaded).url()} is loaded`);
  await live(page);
  await version.filter({ hasText: VERSION }).waitFor();
  expect(page.url() === address && await bar.count() === 0, 'the page is of this version now');
  content(somebody);
  report({ event: 'end' });
});
