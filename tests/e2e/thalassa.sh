#!/bin/sh
# Sets up the programs of Thalassa in a folder: the client and Aqueduct, unchanged, from npm. Their dependencies are
# from 2013, except a newer `debug`, because npm no longer has the version of that time. Nothing is compiled: Aqueduct
# needs compiled packages only to draw charts.
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
