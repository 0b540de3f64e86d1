// Pages that are left open while devices come and go, again and again: what the browser holds for each stays as much as it is. Reports it at each of
// the story's words: nodes of the document (also those that are in no document any more), listeners, bytes of JavaScript and of WebAssembly.
//
// DASHBOARD, DEVICE (one of those that come and go), MARKS (how many words there are). Told a line at each.
'use strict';

const { report, run } = require('./browser');
const { after, content, expect, live, visit, visitor } = require('./visit');

const PATHS = (device) => ({
  // On an axis that is not filled little by little while one looks.
  overview: '/', devices: '/devices', device: `/devices/${device}?span=6h`, connectivity: '/connectivity', flow: '/flow', commands: '/commands',
  audit: '/audit',
});

// A page shows no more than it can bear, and holds little else: nodes are elements and their texts, and such as are not collected yet.
const SHOWN_MAX = 6_000;
const nodesMax = (shown) => 5 * shown + 5_000;
// Between the last two marks: what is drawn and what is remembered has its bounds, and is full.
const SHOWN_GROWTH = 1.1;
const GROWTH = 1.3;
const WASM_GROWTH_BYTES = 2 * 1024 * 1024;

// How often it is looked again before that is said: what was drawn a moment ago is held until it has been collected.
const LOOKS = 5;

// The page's own memory is no object of JavaScript's: it is had where it is made.
function remember() {
  for (const name of ['instantiate', 'instantiateStreaming']) {
    const make = WebAssembly[name].bind(WebAssembly);
    WebAssembly[name] = async (...words) => {
      const made = await make(...words);
      window.memoryOfPage = (made.instance || made).exports.memory;
      return made;
    };
  }
}

async function held(page, debug) {
  await debug.send('HeapProfiler.collectGarbage');
  const { metrics } = await debug.send('Performance.getMetrics');
  const of = (wanted) => metrics.find(({ name }) => name === wanted).value;
  const wasm = await page.evaluate(() => window.memoryOfPage.buffer.byteLength);
  const shown = await page.evaluate(() => document.querySelectorAll('*').length);
  return { nodes: of('Nodes'), shown, listeners: of('JSEventListeners'), script: of('JSHeapUsedSize'), wasm };
}

// What is too much of what is held now, beside what was held at the mark before; nothing if all is well.
function excess(middle, last) {
  const too = [
    [last.shown > SHOWN_MAX, `shows ${last.shown} elements`],
    [last.shown > middle.shown * SHOWN_GROWTH, `grows from ${middle.shown} to ${last.shown} elements`],
    [last.nodes > nodesMax(last.shown), `shows ${last.shown} elements and holds ${last.nodes} nodes`],
    [last.listeners > middle.listeners * GROWTH, `grows from ${middle.listeners} to ${last.listeners} listeners`],
    [last.script > middle.script * GROWTH, `grows from ${middle.script} to ${last.script} bytes of script`],
    [last.wasm - middle.wasm > WASM_GROWTH_BYTES, `grows from ${middle.wasm} to ${last.wasm} bytes`],
  ];
  return too.filter(([is]) => is).map(([, what]) => what).join(', ');
}

// The page's clock has gone on by a second, and all that it had to draw is drawn.
async function second(page) {
  const clock = page.locator('.topbar__clock');
  const now = await clock.innerText();
  await page.waitForFunction((was) => document.querySelector('.topbar__clock').innerText !== was, now, { polling: 100 });
}

run(async (browser) => {
  const { DEVICE: device } = process.env;
  const marks = Number(process.env.MARKS);
  const somebody = await visitor(browser);
  await somebody.context.addInitScript(remember);
  const open = new Map();
  for (const [name, path] of Object.entries(PATHS(device))) {
    const page = await visit(somebody, path);
    const debug = await somebody.context.newCDPSession(page);
    await debug.send('Performance.enable');
    open.set(name, { page, debug, was: [] });
  }
  for (let mark = 1; mark <= marks; mark += 1) {
    await after('looking');
    for (const [name, one] of open) {
      one.was.push(await held(one.page, one.debug));
      report({ event: 'held', mark, page: name, ...one.was.at(-1) });
    }
  }
  for (const [name, { page, debug, was }] of open) {
    const middle = was.at(-2);
    let last = was.at(-1);
    for (let look = 1; look < LOOKS && excess(middle, last); look += 1) {
      await second(page);
      last = await held(page, debug);
    }
    expect(!excess(middle, last), `${name} ${excess(middle, last)}`);
    await live(page);
  }
  content(somebody);
  report({ event: 'end' });
});
