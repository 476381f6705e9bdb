#!/bin/bash
# Everybody else.
# Given: IGNORED MORE NAME SUM TOKEN
set -euo pipefail
kubeadm join 127.0.0.1:7443 --node-name $NAME --token $TOKEN --discovery-token-ca-cert-hash sha256:$SUM --ignore-preflight-errors $IGNORED $MORE \
  > /root/join.log 2>&1 || { tail -n 30 /root/join.log >&2; exit 1; }
