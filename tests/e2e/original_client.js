// Lets a test make the calls of the published client `bender-api` 0.2, unchanged.
//
// Use: NODE_PATH=… node original_client.js PORT [PORT …]. Each line of the input is a call, {"call": …, "arguments":
// […]}, and each line of the output is its result: {"error": …, "result": …}. The script is written in the JavaScript
// of 2014, so that the runtime of that time can run it, too.

var bender = require('bender-api')({
  servers: process.argv.slice(2).map(function (port) { return { host: '127.0.0.1', port: +port }; })
});
var registering = [];

function answer(error, result) {
  var said = error && { message: error.message, code: error.code, statusCode: error.statusCode };
  process.stdout.write(JSON.stringify({ error: said || null, result: result === undefined ? null : result }) + '\n');
}

function call(asked) {
  var handed = asked['arguments'];
  if (asked.call === 'startRegistering') {
    answer(null, registering.push(bender.startRegistering(handed[0], handed[1])) - 1);
  } else if (asked.call === 'stopRegistering') {
    answer(null, bender.stopRegistering(registering[handed[0]]));
  } else {
    bender[asked.call].apply(bender, handed.concat(answer));
  }
}

require('./calls')(call);
