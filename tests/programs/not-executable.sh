#!/bin/sh
# Nobody may execute this one.
echo "executed all the same"
