// A node of the original bender that says when it saw what.
//
// Use: node node.js API-PORT CRDT-PORT TTL-MS [PEER-CRDT-PORT …]. It is put together as its own command line does it,
// except that everything is on 127.0.0.1 and that the ttl can be chosen. Each registration that comes online is a line
// "TIME ID" on stdout, TIME in nanoseconds of CLOCK_MONOTONIC, taken inside the node before anything is written.
'use strict';

var Bender = require('bender');

var loopback = '127.0.0.1';
var ports = process.argv.slice(2).map(Number);
var bender = new Bender({ ttl: ports[2] });

bender.doc.on('online', function (registration) {
  var time = process.hrtime();
  var nanoseconds = ('000000000' + time[1]).slice(-9);
  process.stdout.write(time[0] + nanoseconds + ' ' + registration.id + '\n');
});

bender.api.listen(ports[0], loopback);
bender.crdt.listen(ports[1], loopback);
bender.connect(ports.slice(3).map(function (port) {
  return { host: loopback, port: port };
}));
