#!/usr/bin/env bash
# The first control plane: etcd's certificates for each member, as kubeadm's documentation makes them. Prints an archive a member, a line each.
# Given: MEMBERS VERSION
set -euo pipefail
mkdir -p /root/floor
for member in $MEMBERS; do
  name=${member%%=*} ip=${member##*=} pki=/root/floor/${member%%=*}
  cat > "$pki.yaml" <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {name: $name}
localAPIEndpoint: {advertiseAddress: $ip}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $VERSION
certificatesDir: $pki
etcd: {local: {serverCertSANs: [$ip], peerCertSANs: [$ip]}}
END
  if [ -d /root/floor/pki ]; then cp -r /root/floor/pki "$pki"; fi
  for part in etcd-ca etcd-server etcd-peer apiserver-etcd-client; do kubeadm init phase certs $part --config "$pki.yaml" > /dev/null; done
  if [ ! -d /root/floor/pki ]; then mkdir -p /root/floor/pki/etcd; cp "$pki"/etcd/ca.* /root/floor/pki/etcd; fi
done
for member in $MEMBERS; do tar -C "/root/floor/${member%%=*}" -cz . | base64 -w0; echo; done
