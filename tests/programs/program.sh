#!/bin/sh
# A program in no particular language: it says how it was started and waits.
echo "args: $*"
echo "greeting: $GREETING"
echo "directory: $(pwd)"
exec sleep 1000
