#!/bin/sh
# Makes all recordings anew: record.sh NODE_BINARY...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for node in "$@"; do
    for dialect in json advanced; do
        "$node" "$here/record.js" "$dialect" "$here"
    done
done
