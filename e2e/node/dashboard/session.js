// A session ends while its page is open: the page asks who it is, and leads back to the same address.
//
// DASHBOARD (the page's address), NAME and PASSWORD, PATH_OF_PAGE (below `/dashboard`, with filters). Told a line when the session is over, with the
// password that is good now.
'use strict';

const { complaints, origin, reach, report, run } = require('./browser');
const { OF_AN_ENDED_SESSION, after, content, expect, guest, live, seen, signInAs } = require('./visit');

run(async (browser) => {
  const { NAME: name, PASSWORD: password, PATH_OF_PAGE: path } = process.env;
  const guessed = /status of 403 .*\/api\/v1\/session\b/;
  const somebody = await guest(browser, { harmless: [OF_AN_ENDED_SESSION, guessed] });
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  const address = `${origin()}/dashboard${path}`;
  await reach(page, address);
  await signInAs(page, name, 'a guess');
  const refused = page.getByRole('alert').filter({ hasText: /\S/ });
  await refused.waitFor();
  report({ event: 'refused', said: await refused.innerText() });
  await signInAs(page, name, password);
  await live(page);
  expect(page.url() === address, `signed in at ${page.url()}`);
  const next = await after('signed in');
  report({ event: 'asked', at: await seen(page.getByRole('heading', { name: 'Sign in' })) });
  expect(await page.locator('.nav').count() === 0, 'nothing of the hub is on the screen of somebody who is not signed in');
  await signInAs(page, name, next);
  await live(page);
  expect(page.url() === address, `back at ${page.url()}`);
  content(somebody);
  report({ event: 'end' });
});
