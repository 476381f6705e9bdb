#!/usr/bin/env bash
# Every node: waits for the routes to the others' pods.
# Given: CIDRS
set -euo pipefail
for cidr in $CIDRS; do
  for _ in $(seq 240); do if [ -n "$(ip route show "$cidr" proto bird)" ]; then continue 2; fi; sleep 0.5; done
  echo "no route to $cidr" >&2; exit 1
done
