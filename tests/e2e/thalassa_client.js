// Lets a test use the published client `thalassa` 0.4.1, unchanged.
//
// Use: NODE_PATH=… node thalassa_client.js HOST HTTP_PORT EVENTS_PORT UPDATE_MS EXPIRE_S. Each line of its input is a
// call of the client, {"call": …, "arguments": […]}; a call with a result is answered by a line {"error": …, "result":
// …}. Events of the client are lines as well: {"event": …, "id": …, "registration": …}. The script is written in the
// JavaScript of 2013, so that the runtime of that time can run it, too.

var Client = require('thalassa').Client;
var given = process.argv.slice(2);
var client = new Client({
  host: given[0], apiport: +given[1], port: +given[2], updateFreq: +given[3], secsToExpire: +given[4]
});

function say(document) { process.stdout.write(JSON.stringify(document) + '\n'); }

client.on('online', function (registration) { say({ event: 'online', id: registration.id, registration: registration }); });
client.on('offline', function (id) { say({ event: 'offline', id: id }); });
client.on('updateSuccessful', function () { say({ event: 'updateSuccessful' }); });
client.on('updateFailed', function (error) { say({ event: 'updateFailed', id: String(error) }); });
say({ event: 'started', id: client.MY_IP });

function call(asked) {
  var handed = asked['arguments'];
  if (asked.call === 'getRegistrations') {
    handed.push(function (error, result) { say({ error: error ? String(error) : null, result: result || null }); });
  }
  client[asked.call].apply(client, handed);
}

require('./calls')(call);
