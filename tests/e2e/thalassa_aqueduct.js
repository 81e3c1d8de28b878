// Runs the published `thalassa-aqueduct` 0.5.3 without its charts.
//
// Use: NODE_PATH=… node thalassa_aqueduct.js OPTION …, with the options of Aqueduct's command. The charts need `level`,
// a database to compile, and a parser of HAProxy's statistics that can only read those of 2013. Their input is dropped;
// all other code is unchanged.

var Module = require('module'), EventEmitter = require('events').EventEmitter, Readable = require('stream').Readable;
var load = Module._load;

function emptyStream() {
  var stream = new Readable({ objectMode: true });
  stream._read = function () { this.push(null); };
  return stream;
}

function noDatabase() {
  var database = new EventEmitter();
  database.put = database.del = function () {};
  database.get = function (key, callback) { callback(new Error('not found')); };
  database.batch = function (changes, callback) { if (callback) callback(); };
  database.createReadStream = database.createKeyStream = database.createLiveStream = emptyStream;
  return database;
}

Module._load = function (name) {
  if (name === 'level') return noDatabase;
  if (name === 'level-live-stream') return { install: function () {} };
  return load.apply(this, arguments);
};
require('thalassa-aqueduct/lib/HaproxyStats').prototype.createStatsInterval = function () {};
require('thalassa-aqueduct/bin/server.js');
