#!/usr/bin/env bash
# Copy the libraries that old pages load as plain scripts from node_modules to the static files.
set -euo pipefail

vendor=common/static/common/js/vendor
mkdir -p "$vendor"
for file in \
    jquery/dist/jquery.min.js \
    underscore/underscore-min.js \
    backbone/backbone-min.js \
    bootstrap/dist/js/bootstrap.bundle.min.js \
    moment/min/moment-with-locales.min.js; do
    # without the line that names a source map: the map is not among the static files
    sed '/^\/\/# sourceMappingURL=/d' "node_modules/$file" >"$vendor/$(basename "$file")"
done
