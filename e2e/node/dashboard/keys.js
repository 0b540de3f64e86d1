// A device's keys are shown on demand, and hidden again: by the button, on leaving the page, and after a minute. Who may not see them is told so, and
// gets none.
//
// DASHBOARD (the page's address), DEVICE, STRING (its connection string) and KEY, NAME and PASSWORD of somebody with all rights, OTHER and
// OTHER_PASSWORD of somebody without the one to see keys.
'use strict';

const { origin, report, run } = require('./browser');
const { asks, content, expect, member, visit } = require('./visit');

// As long as keys are to be seen.
const SHOWN_MS = 60_000;

async function hidden(page, key) {
  expect(!(await page.content()).includes(key), `the key is still on the page at ${page.url()}`);
}

function secrets(page, string) {
  const texts = page.locator('.secret__text');
  return {
    shown: texts.filter({ hasText: string }),
    masked: texts.filter({ hasText: /SharedAccessKey=•+$/ }),
    eye: page.getByRole('button', { name: 'Reveal the key' }),
  };
}

// A tab in which time passes when the story says so.
async function clocked(somebody, device) {
  await somebody.context.clock.install();
  const page = await visit(somebody, `/devices/${device}`);
  await secrets(page).masked.waitFor();
  await page.clock.pauseAt(await page.evaluate(() => Date.now() + 1000));
  return page;
}

async function timed(page, string, key) {
  const { shown, masked, eye } = secrets(page, string);
  await eye.click();
  await shown.waitFor();
  await page.clock.fastForward(SHOWN_MS - 1);
  expect(await shown.isVisible(), 'it is hidden before its time');
  await page.clock.fastForward(1);
  await masked.waitFor();
  await hidden(page, key);
  await page.close();
}

run(async (browser) => {
  const { DEVICE: device, STRING: string, KEY: key } = process.env;
  const somebody = await member(browser, process.env.NAME, process.env.PASSWORD);
  await somebody.context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: origin() });
  const page = await visit(somebody, `/devices/${device}`);
  const { shown, masked, eye } = secrets(page, string);
  await masked.waitFor();
  await hidden(page, key);

  await eye.click();
  await shown.waitFor();
  await eye.click();
  await masked.waitFor();
  await hidden(page, key);

  await eye.click();
  await shown.waitFor();
  await page.getByRole('navigation', { name: 'Main', exact: true }).getByRole('link', { name: 'Audit' }).click();
  await page.getByRole('heading', { name: 'Audit' }).waitFor();
  await hidden(page, key);
  await page.goBack();
  await masked.waitFor();
  await hidden(page, key);

  await page.getByRole('button', { name: 'Copy the connection string' }).click();
  await page.getByText('The audit says that you have it').waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText()) === string, 'another text was copied');
  await hidden(page, key);
  await timed(await clocked(somebody, device), string, key);
  report({ event: 'seen', times: 4 });
  content(somebody);

  const other = await member(browser, process.env.OTHER, process.env.OTHER_PASSWORD);
  const look = await visit(other, `/devices/${device}`);
  await look.getByText('Your account may not see keys.').waitFor();
  for (const name of ['Reveal the key', 'Copy the connection string', 'Copy the primary key', 'Copy the secondary key']) {
    expect(await look.getByRole('button', { name }).isDisabled(), `${name} can be pressed`);
  }
  await hidden(look, key);
  const { status, body } = await asks(other, 'POST', `/devices/${device}/secrets`);
  expect(!body.includes(key), 'the hub gives the key away');
  content(other);
  report({ event: 'refused', status, said: body });
  report({ event: 'end' });
});
