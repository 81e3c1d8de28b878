// Calls the function with each line of the input, which is a call {"call": …, "arguments": […]}, until the input ends.
// It is written in the JavaScript of 2013, so that the runtime of that time can run it, too.

module.exports = function (call) {
  var unfinished = '';
  process.stdin.setEncoding('utf8');
  process.stdin.on('data', function (text) {
    var lines = (unfinished + text).split('\n');
    unfinished = lines.pop();
    lines.forEach(function (line) { call(JSON.parse(line)); });
  });
  process.stdin.on('end', function () { process.exit(0); });
};
