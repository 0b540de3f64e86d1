// Looks at every page by the rules of axe, light, dark and on a phone, with what can be opened on it open. Reports each finding with where it is.
//
// DASHBOARD (the link to sign in with), PAGES and SCREENS (with commas; absent: all but the one in between), and what pages.js wants.
'use strict';

const { SCREENS, report, run, signIn } = require('./browser');
const { OF_A_REFUSAL, PAGES, STRANGERS, listed, pagesOn, strange, whole } = require('./pages');
const { content, guest, visit } = require('./visit');
const rules = require('axe-core').source;

const SERIOUS = ['serious', 'critical'];

async function look(page, name, screen) {
  await whole(page);
  await page.evaluate(rules);
  // Nothing is fetched: the page's policy forbids it.
  const { violations, passes } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'], preload: false }));
  for (const { id, impact, help, nodes } of violations) {
    const why = (node) => [...node.any, ...node.all, ...node.none].map((check) => check.message).join('; ');
    const where = nodes.slice(0, 5).map((node) => `${node.target.join(' ')}: ${why(node)}`);
    report({ event: SERIOUS.includes(impact) ? 'finding' : 'remark', page: name, screen, rule: id, impact, help, nodes: nodes.length, where });
  }
  report({ event: 'looked', page: name, screen, passed: passes.length });
}

run(async (browser) => {
  const storageState = await signIn(browser);
  for (const screen of listed(process.env.SCREENS || 'light-1440,dark-1440,light-390,dark-390', SCREENS)) {
    const somebody = await guest(browser, { ...SCREENS[screen], storageState });
    for (const name of pagesOn(screen)) {
      const page = await visit(somebody, PAGES[name].path);
      await whole(page);
      if (PAGES[name].open) await PAGES[name].open(page);
      await look(page, name, screen);
      await page.close();
    }
    const stranger = await guest(browser, { harmless: [OF_A_REFUSAL], ...SCREENS[screen] });
    for (const name of pagesOn(screen, STRANGERS)) {
      const page = await strange(stranger, name);
      await look(page, name, screen);
      await page.close();
    }
    for (const one of [somebody, stranger]) {
      content(one);
      await one.context.close();
    }
  }
  report({ event: 'end' });
});
