#!/usr/bin/env bash
# Once: Calico with BGP to the racks' routers, MetalLB's controller.
# Given: BGP PODS RACKS
set -euo pipefail
export KUBECONFIG=/etc/kubernetes/admin.conf
sed -i -e '/- name: CALICO_IPV4POOL_IPIP/{n;s/Always/Never/}' \
  -e "s|# - name: CALICO_IPV4POOL_CIDR|- name: CALICO_IPV4POOL_CIDR\n              value: $PODS\n            - name: FELIX_IPTABLESBACKEND\n              value: NFT|" /root/floor/calico.yaml
kubectl create -f /root/floor/calico.yaml > /dev/null
kubectl apply -f /root/floor/metallb.yaml > /dev/null
# Calico announces the addresses: MetalLB's speaker has nothing to do.
kubectl -n metallb-system delete daemonset speaker > /dev/null
while read -r name rack as; do
  kubectl label node "$name" "rack=$rack" > /dev/null
  kubectl annotate node "$name" "projectcalico.org/ASNumber=$as" > /dev/null
done <<< "$RACKS"
kubectl wait --for condition=Established --timeout 60s crd/bgpconfigurations.crd.projectcalico.org crd/bgppeers.crd.projectcalico.org > /dev/null
kubectl apply -f - <<< "$BGP" > /dev/null
