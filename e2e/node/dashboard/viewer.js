// Who may look and nothing else: what changes anything is absent or can't be pressed, bodies and keys are not shown, and the hub refuses all of it
// to the same session.
//
// DASHBOARD (the page's address), NAME and PASSWORD, DEVICE, COMMAND (the id of one that was rejected).
'use strict';

const { complaints, origin, reach, report, run } = require('./browser');
const { asks, content, expect, guest, live, signInAs, visit } = require('./visit');

async function disabled(page, names) {
  for (const name of names) {
    const button = page.getByRole('button', { name }).first();
    await button.waitFor();
    expect(await button.isDisabled(), `${name} can be pressed at ${page.url()}`);
  }
}

async function absent(page, name) {
  expect(await page.getByRole('button', { name }).count() === 0, `${name} is there at ${page.url()}`);
}

run(async (browser) => {
  const { NAME: name, PASSWORD: password, DEVICE: device, COMMAND: command } = process.env;
  const somebody = await guest(browser);
  const first = await somebody.context.newPage();
  complaints(first, somebody.heard);
  await reach(first, `${origin()}/dashboard/`);
  await signInAs(first, name, password);
  await live(first);

  const own = await visit(somebody, `/devices/${device}`);
  await disabled(own, ['Rotate keys…', 'Disable…', 'Reveal the key', 'Copy the connection string', /^(Send|Queue) command$/]);
  const list = await visit(somebody, '/devices');
  await list.getByLabel(`Select ${device}`).check();
  await disabled(list, ['Enable…', 'Disable…', 'Rotate…', 'Delete…']);
  const compose = await visit(somebody, `/compose?device=${device}`);
  await disabled(compose, [/^Send to 1 device$/]);
  const commands = await visit(somebody, '/commands');
  await disabled(commands, ['Again']);
  const one = await visit(somebody, `/commands/${command}`);
  await one.getByText('Your account may not read what messages say').waitFor();
  await absent(one, 'Send again');
  const flow = await visit(somebody, '/flow?from=earliest');
  await flow.getByText('Your account may see that messages come, and not what they say').waitFor();
  const row = flow.getByLabel('Message rows').getByRole('row').filter({ hasText: device }).first();
  await row.click();
  await flow.getByText('Your account may not read what messages say.').waitFor();
  await visit(somebody, '/audit').then((page) => page.getByRole('row').filter({ hasText: name }).first().waitFor());

  const wanted = [
    ['POST', '/devices/actions', { action: 'disable', ids: [device] }],
    ['POST', '/devices/actions', { action: 'rotate', ids: [device], slot: 'secondary' }],
    ['POST', '/devices/actions', { action: 'delete', ids: [device] }],
    ['POST', `/devices/${device}/secrets`],
    ['POST', `/devices/${device}/commands`, 'a command'],
    ['POST', `/commands/${command}/send-again`],
    ['GET', `/commands/${command}/content`],
    ['GET', '/events?follow=false'],
  ];
  for (const [method, path, data] of wanted) {
    const { status, body } = await asks(somebody, method, path, data);
    report({ event: 'asked', method, path, status, said: body.slice(0, 200) });
  }
  content(somebody);
  report({ event: 'end' });
});
