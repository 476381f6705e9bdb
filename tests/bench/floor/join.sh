#!/usr/bin/env bash
# Everybody else. Token and key are in a file: arguments are everybody's to read.
# Given: CONTROL_PLANE IGNORED NAME SUM TOKEN
set -euo pipefail
mkdir -p /root/floor
cat > /root/floor/join.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
nodeRegistration:
  name: $NAME
  ignorePreflightErrors: [${IGNORED//,/, }]
discovery: {bootstrapToken: {apiServerEndpoint: "127.0.0.1:7443", token: $TOKEN, caCertHashes: ["sha256:$SUM"]}}
$CONTROL_PLANE
END
kubeadm join --config /root/floor/join.yaml > /root/floor/join.log 2>&1 || { tail -n 30 /root/floor/join.log >&2; exit 1; }
