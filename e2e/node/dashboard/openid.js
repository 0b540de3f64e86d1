// People sign in at an OpenID Connect issuer by the button on the page, through the issuer's own pages and back.
//
// DASHBOARD (the page's address), ISSUER (a URL, of another site), NAME (of somebody in a group that may look), OTHER (of somebody in none).
'use strict';

const { complaints, origin, reach, report, run } = require('./browser');
const { OF_AN_ENDED_SESSION, content, expect, guest, live } = require('./visit');

const { ISSUER: issuer } = process.env;
const { host } = new URL(issuer);

// What was wanted of the dashboard before anybody was signed in.
const PATH = '/devices?prefix=pump&sort=id';

// A browser of its own, on the page where the button is.
async function stranger(browser, path) {
  // What the browser says of the issuer's pages, which want somebody else's letters, is not the hub's.
  const there = { test: (text) => [issuer, 'https://fonts.googleapis.com'].some((site) => text.includes(site)) };
  const somebody = await guest(browser, { harmless: [there, OF_AN_ENDED_SESSION] });
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  await reach(page, `${origin()}/dashboard${path}`);
  return { somebody, page };
}

const button = (page) => page.getByRole('link', { name: `Sign in at ${host}` });

// By the button, and as this person at the issuer's own pages.
async function goes(page, name) {
  await button(page).click();
  await page.getByPlaceholder('Enter any login').fill(name);
  await page.getByPlaceholder('and password').fill('any');
  await page.getByRole('button', { name: 'Sign-in' }).click();
  await page.getByText('scopes:').waitFor();
  expect(new URL(page.url()).host === host, `the issuer's page is at ${page.url()}`);
  await page.getByRole('button', { name: 'Continue' }).click();
}

run(async (browser) => {
  const { NAME: name, OTHER: other } = process.env;
  const { somebody, page } = await stranger(browser, PATH);
  await goes(page, name);
  await live(page);
  expect(page.url() === `${origin()}/dashboard${PATH}`, `it comes back to ${page.url()}`);
  await page.locator('.nav__who').filter({ hasText: `${name}@example.com` }).waitFor();
  expect(await page.evaluate(() => document.cookie) === '', 'a script can read the session');
  await page.reload();
  await live(page);
  report({ event: 'signed in', name: await page.locator('.nav__who').innerText() });

  // Signing out here is not signing out there: the issuer asks nothing more.
  await page.getByRole('button', { name: 'Sign out' }).first().click();
  await button(page).click();
  await live(page);
  content(somebody);

  const nobody = await stranger(browser, PATH);
  await goes(nobody.page, other);
  await nobody.page.getByRole('alert').filter({ hasText: 'none of your groups has a right to this hub' }).waitFor();
  expect(!nobody.page.url().includes('#'), `the problem stays in the address: ${nobody.page.url()}`);
  expect(await nobody.page.locator('.nav').count() === 0, 'who may do nothing is in');
  await nobody.page.reload();
  await button(nobody.page).waitFor();
  expect(await nobody.page.getByRole('alert').filter({ hasText: /\S/ }).count() === 0, 'a problem is said once');
  content(nobody.somebody);
  report({ event: 'end' });
});
