// The line between a browser and the hub, which a story can cut: the browser comes to this door, and what it says is handed on as it is.
'use strict';

const net = require('net');

// The door, and how a browser is told of it.
async function line(host, port) {
  const ends = new Set();
  const doors = net.createServer((browser) => {
    const hub = net.connect(port, host);
    for (const [end, other] of [[browser, hub], [hub, browser]]) {
      ends.add(end);
      end.on('error', () => {});
      end.on('close', () => {
        ends.delete(end);
        other.destroy();
      });
      end.pipe(other);
    }
  });
  const listen = (at) => new Promise((resolve, reject) => {
    doors.once('error', reject);
    doors.listen(at, '127.0.0.1', resolve);
  });
  await listen(0);
  const own = doors.address().port;
  return {
    rule: `--host-resolver-rules=MAP ${host}:${port} 127.0.0.1:${own}`,
    // Who is there is reset, and who comes is refused.
    async cut() {
      const closed = new Promise((resolve) => { doors.close(resolve); });
      for (const end of ends) end.resetAndDestroy();
      await closed;
    },
    mend: () => listen(own),
  };
}

module.exports = { line };
