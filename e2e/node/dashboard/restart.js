// The hub is killed and comes back: the page says since when it has heard nothing, asks who it is again, and then has all that happened, once.
//
// DASHBOARD (the page's address), NAME and PASSWORD, DEVICE (connected; it completes commands), MESSAGES (ids of commands, with commas: the first
// was completed before the hub is killed, the last is sent after it has come back). Told a line when the hub has been killed, and one when it is
// back, and the device, and the last command is completed.
'use strict';

const { origin, reach, report, run } = require('./browser');
const { OF_A_CUT_LINE, OF_AN_ENDED_SESSION, after, content, expect, guest, live, seen, signInAs } = require('./visit');
const { complaints } = require('./browser');

run(async (browser) => {
  const { DEVICE: device, NAME: name, PASSWORD: password } = process.env;
  const messages = process.env.MESSAGES.split(',');
  const somebody = await guest(browser, { harmless: [OF_A_CUT_LINE, OF_AN_ENDED_SESSION] });
  const page = await somebody.context.newPage();
  complaints(page, somebody.heard);
  const address = `${origin()}/dashboard/devices/${device}?span=15m`;
  await reach(page, address);
  await signInAs(page, name, password);
  await live(page);
  const rows = page.getByLabel('Merged timeline, newest first').getByRole('listitem');
  const completed = (message) => rows.filter({ hasText: message }).filter({ hasText: /completed/i });
  await completed(messages[0]).waitFor();
  await after('looking');
  const said = page.getByRole('alert').filter({ hasText: 'Live link down since' });
  report({ event: 'down', at: await seen(said), said: await said.innerText() });
  expect(await completed(messages[0]).count() === 1, 'what was known stays on the screen');
  await after('killed');
  // The hub keeps sessions in memory: whoever was signed in is a stranger to it now.
  report({ event: 'asked', at: await seen(page.getByRole('heading', { name: 'Sign in' })) });
  await signInAs(page, name, password);
  await live(page);
  expect(page.url() === address, `it is at ${page.url()}`);
  for (const message of messages) {
    await completed(message).waitFor();
    expect(await rows.filter({ hasText: message }).count() === 1, `${message} is there ${await rows.filter({ hasText: message }).count()} times`);
  }
  await rows.filter({ hasText: /hub restarted/i }).waitFor();
  const facts = await rows.locator('.timeline__text').allInnerTexts();
  report({ event: 'facts', facts });
  for (const [fact, times] of [['Connected', 2], ['Disconnected: hub restarted', 1]]) {
    expect(facts.filter((told) => told === fact).length === times, `${fact} is there otherwise than ${times} times: ${facts.join(', ')}`);
  }
  content(somebody);
  report({ event: 'end' });
});
