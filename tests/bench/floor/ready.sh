#!/usr/bin/env bash
# Once: waits for everything; prints the nodes' blocks of pod addresses.
# Given: POOL
set -euo pipefail
export KUBECONFIG=/etc/kubernetes/admin.conf
kubectl wait --for condition=Ready nodes --all --timeout 300s > /dev/null
kubectl -n kube-system rollout status --timeout 300s daemonset/calico-node > /dev/null
kubectl -n kube-system rollout status --timeout 300s deployment/calico-kube-controllers > /dev/null
kubectl -n kube-system rollout status --timeout 300s deployment/coredns > /dev/null
kubectl -n metallb-system rollout status --timeout 300s deployment/controller > /dev/null
for _ in $(seq 240); do if kubectl apply -f - <<< "$POOL" > /root/floor/pool.log 2>&1; then break; fi; sleep 0.5; done
kubectl -n metallb-system get ipaddresspools public > /dev/null
kubectl get blockaffinities -o jsonpath='{range .items[*]}{.spec.node} {.spec.cidr}{"\n"}{end}'
