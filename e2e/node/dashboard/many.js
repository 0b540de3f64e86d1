// A hundred thousand devices: listed, scrolled to the middle and to the end, found by the beginning of an id, filtered; the page draws only what is
// in view. Reports how long each took.
//
// DASHBOARD, TOTAL (how many there are, as people read it), LAST (the greatest id), PREFIX and MATCHES (how many begin so, as people read it).
'use strict';

const { report, run } = require('./browser');
const { content, expect, visit, visitor } = require('./visit');

run(async (browser) => {
  const { TOTAL: total, LAST: last, PREFIX: prefix, MATCHES: matches } = process.env;
  const somebody = await visitor(browser);
  const began = Date.now();
  const page = await visit(somebody, '/devices?sort=id');
  const foot = page.locator('.panel__foot');
  const view = page.getByLabel('Device rows');
  const links = view.getByRole('link');
  const step = async (what, then) => {
    const at = Date.now();
    await then();
    report({ event: 'took', what, ms: Date.now() - at });
  };
  await foot.filter({ hasText: `of ${total} devices` }).waitFor();
  await links.first().waitFor();
  report({ event: 'took', what: 'the list', ms: Date.now() - began });
  const scroll = (part) => view.evaluate((element, to) => { element.scrollTop = (element.scrollHeight - element.clientHeight) * to; }, part);
  const whole = async () => {
    await page.waitForFunction(() => {
      const shown = [...document.querySelectorAll('.table__view .table__row:not(.table__row--head)')];
      return shown.length > 0 && shown.every((row) => row.querySelector('a'));
    });
  };
  await step('the end', async () => {
    await scroll(1);
    await view.getByText(last).waitFor();
  });
  const drawn = await view.getByRole('row').count();
  expect(drawn < 200, `${drawn} rows are drawn`);
  await step('the middle', async () => {
    await scroll(0.5);
    await whole();
  });
  await step('a prefix', async () => {
    await page.getByPlaceholder('id starts with…').fill(prefix);
    await foot.filter({ hasText: `of ${matches} devices` }).waitFor();
  });
  await whole();
  expect((await links.allInnerTexts()).every((id) => id.replace(/\s/g, '').startsWith(prefix)), 'every row begins so');
  expect(new URL(page.url()).searchParams.get('prefix') === prefix, `the address says ${page.url()}`);
  await step('a state', async () => {
    await page.getByRole('group', { name: 'State' }).getByRole('button', { name: /Never/ }).click();
    await foot.filter({ hasText: `of ${matches} devices` }).waitFor();
  });
  const frames = await page.evaluate(async () => {
    const element = document.querySelector('.table__view');
    const gaps = [];
    let before = performance.now();
    for (let at = 0; at < 60; at += 1) {
      element.scrollTop += 400;
      await new Promise(requestAnimationFrame);
      gaps.push(performance.now() - before);
      before = performance.now();
    }
    return { frames: gaps.length, longestMs: Math.round(Math.max(...gaps)), medianMs: Math.round(gaps.sort((one, other) => one - other)[30]) };
  });
  report({ event: 'scrolled', ...frames });
  content(somebody);
  report({ event: 'end' });
});
