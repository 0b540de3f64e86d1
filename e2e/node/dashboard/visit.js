// Somebody at the dashboard, for the stories: signed in, on a page whose live link is up, who hears all that the browser complains of, and does
// what the story tells them.
'use strict';

const readline = require('readline');
const { complaints, context, origin, reach, report, signIn } = require('./browser');

// What a browser says of a line that is cut, and of a session that has ended: a story in which that is meant to happen knows so.
const OF_A_CUT_LINE = /net::ERR_(CONNECTION_\w+|EMPTY_RESPONSE|SOCKET_NOT_CONNECTED|NETWORK_CHANGED)|WebSocket connection to .* failed/;
const OF_AN_ENDED_SESSION = /status of 401|WebSocket connection to .* failed: Error during WebSocket handshake: Unexpected response code: 401/;

// Somebody who has signed in with the link. `harmless` are complaints that the story means to cause.
async function visitor(browser, { harmless = [], ...options } = {}) {
  return guest(browser, { harmless, storageState: await signIn(browser), ...options });
}

// Somebody who has not signed in yet.
async function guest(browser, { harmless = [], ...options } = {}) {
  return { context: await context(browser, options), heard: [], harmless };
}

// Somebody who has signed in with a name and a password.
async function member(browser, name, password, options) {
  const somebody = await guest(browser, options);
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  await reach(page, `${origin()}/dashboard/`);
  await signInAs(page, name, password);
  await live(page);
  await page.close();
  return somebody;
}

// A tab of theirs, at an address below `/dashboard`, with the live link up and the past known.
async function visit(somebody, path = '/') {
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  // Twice: by 20 s for a day, and then by the second.
  const past = (answer) => new URL(answer.url()).pathname === '/api/v1/rates' && !answer.url().includes('since=');
  await Promise.all([page.waitForResponse(past), reach(page, `${origin()}/dashboard${path}`)]);
  await live(page);
  return page;
}

// The link is up, and what is on the screen is what is.
async function live(page) {
  await page.locator('.livelink[data-state=live]').waitFor();
}

// When it was on the screen, by this machine's clock: the story's own.
async function seen(locator) {
  await locator.first().waitFor();
  return Date.now();
}

// With a name and a password, in the form that is on the screen.
async function signInAs(page, name, password) {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

// What the hub answers to the session of this context, asked outside of the page: a refusal is not the page's complaint.
async function asks(somebody, method, path, data) {
  const headers = { origin: origin() };
  const session = await (await somebody.context.request.get(`${origin()}/api/v1/session`, { headers })).json();
  const own = { ...headers, 'mooring-csrf': session.csrf };
  const answer = await somebody.context.request.fetch(`${origin()}/api/v1${path}`, { method, data, headers: own });
  return { status: answer.status(), body: await answer.text() };
}

let lines;

// What the story tells next.
async function told() {
  lines ||= readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const { value, done } = await lines.next();
  if (done) throw new Error('the story has ended, and this script waited for its next word');
  return value;
}

// Reports an event, and waits for the story's next word.
async function after(event, more) {
  report({ event, ...more });
  return told();
}

// The end of a visit, at which nothing may have been complained of.
function content(somebody) {
  const complained = somebody.heard.filter((text) => !somebody.harmless.some((known) => known.test(text)));
  if (complained.length > 0) throw new Error(`the page complains:\n${complained.join('\n')}`);
}

function expect(is, what) {
  if (!is) throw new Error(what);
}

module.exports = { OF_A_CUT_LINE, OF_AN_ENDED_SESSION, after, asks, content, expect, guest, live, member, seen, signInAs, told, visit, visitor };
