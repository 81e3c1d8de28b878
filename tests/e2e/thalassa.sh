#!/bin/sh
# Sets up the programs of Thalassa in the folder that is named: the client and Aqueduct, as they were published, from
# npm. What they need is of 2013, and `debug` alone is newer, because the version of that time is not on npm any more.
# Nothing is compiled: Aqueduct would only draw charts with it.
set -eu

place=$1
mkdir -p "$place"
cat >"$place/package.json" <<'JSON'
{
  "private": true,
  "dependencies": { "thalassa": "0.4.1", "thalassa-aqueduct": "0.5.3" },
  "overrides": { "debug": "0.8.1" }
}
JSON
npm install --prefix "$place" --no-audit --no-fund --ignore-scripts --loglevel=error
