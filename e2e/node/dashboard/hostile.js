// What devices, back ends and strangers say is shown, and never run: bodies, properties, ids. Every form of each is looked at, and afterwards the
// page still works.
//
// DASHBOARD, DEVICE (whose messages and commands they are), MESSAGES (how many it has sent), COMMANDS (ids, with commas).
'use strict';

const { report, run } = require('./browser');
const { content, expect, live, visit, visitor } = require('./visit');

// What turns writing round, and what can't be seen.
const DECEPTIVE = /[\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/;

// Whatever a payload would have made of itself, had it become markup; or run; or been shown as something else than it is.
async function harmless(page, where) {
  const found = await page.evaluate(() => ({
    ran: window.ran === undefined ? null : String(window.ran),
    polluted: {}.polluted === undefined ? null : 'Object.prototype',
    markup: document.querySelectorAll('main :is(img, script, iframe, object, embed, style, form[action], a[href^="javascript:"])').length,
    handlers: [...document.querySelectorAll('main *')].filter((element) => element.getAttributeNames().some((name) => name.startsWith('on'))).length,
    text: document.body.innerText,
    titles: [...document.querySelectorAll('[title], [aria-label]')].map((element) => `${element.title}${element.ariaLabel || ''}`).join('\n'),
  }));
  expect(found.ran === null && found.polluted === null, `at ${where} something ran: ${found.ran} ${found.polluted}`);
  expect(found.markup === 0 && found.handlers === 0, `at ${where} ${found.markup} elements and ${found.handlers} handlers came out of what was sent`);
  const deceptive = DECEPTIVE.exec(found.text + found.titles);
  const around = deceptive && (found.text + found.titles).slice(Math.max(0, deceptive.index - 60), deceptive.index + 30);
  if (deceptive) report({ event: 'deceptive', where, letter: deceptive[0].codePointAt(0).toString(16), around });
}

run(async (browser) => {
  const { DEVICE: device } = process.env;
  const messages = Number(process.env.MESSAGES);
  // What can be no device's id the hub says so of, and the browser writes that down itself.
  const nobody = /status of 400 .*\/devices\/%3Cimg/;
  const somebody = await visitor(browser, { harmless: [nobody] });
  const flow = await visit(somebody, `/flow?from=earliest&filter=${encodeURIComponent(`device:${device}`)}`);
  const rows = flow.getByLabel('Message rows').getByRole('row').filter({ hasText: device });
  await rows.nth(messages - 1).waitFor();
  const forms = [];
  for (let at = 0; at < messages; at += 1) {
    await rows.nth(at).click();
    const side = flow.getByLabel('Chosen message');
    await side.waitFor();
    for (const form of ['JSON', 'Text', 'Hex']) {
      const choice = side.getByRole('button', { name: form, exact: true });
      if (await choice.count() > 0) {
        await choice.click();
        forms.push(form);
        await harmless(flow, `${form} of message ${at}`);
      }
    }
  }
  report({ event: 'looked', messages, forms: forms.length, hex: forms.filter((form) => form === 'Hex').length });
  for (const id of process.env.COMMANDS.split(',')) {
    const page = await visit(somebody, `/commands/${id}`);
    await page.getByRole('group', { name: 'Form' }).waitFor();
    await harmless(page, `command ${id}`);
    await page.close();
  }
  const own = `/devices/${encodeURIComponent(device)}`;
  const markup = encodeURIComponent('<img src=x onerror=ran=1>');
  const paths = ['/', own, '/devices', '/connectivity', '/commands', '/audit', `/start?device=${markup}`, `/${markup}`, `/devices/${markup}`];
  for (const path of paths) {
    const page = await visit(somebody, path);
    await page.locator('main h1').waitFor();
    await harmless(page, path);
    await page.close();
  }
  // It still works: it goes elsewhere, and is told what happens.
  await flow.getByRole('link', { name: 'Devices' }).first().click();
  await flow.getByRole('heading', { name: 'Devices' }).waitFor();
  await live(flow);
  content(somebody);
  report({ event: 'end' });
});
