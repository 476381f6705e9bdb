#!/usr/bin/env bash
# The first control plane. Prints the sum that others know its authority by.
# Given: COREDNS ENDPOINTS IGNORED IP KEY NAME PODS TOKEN VERSION
set -euo pipefail
cat > /root/floor/init.yaml <<END
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  name: $NAME
  ignorePreflightErrors: [${IGNORED//,/, }]
localAPIEndpoint: {advertiseAddress: $IP}
bootstrapTokens: [{token: $TOKEN, ttl: 1h}]
certificateKey: $KEY
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: $VERSION
controlPlaneEndpoint: 127.0.0.1:7443
networking: {podSubnet: $PODS, serviceSubnet: 10.96.0.0/16}
dns: {imageTag: $COREDNS}
etcd:
  external:
    endpoints: [$ENDPOINTS]
    caFile: /etc/kubernetes/pki/etcd/ca.crt
    certFile: /etc/kubernetes/pki/apiserver-etcd-client.crt
    keyFile: /etc/kubernetes/pki/apiserver-etcd-client.key
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
evictionHard: {memory.available: 100Mi, nodefs.available: 2%, imagefs.available: 2%}
imageGCHighThresholdPercent: 100
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
END
kubeadm init --config /root/floor/init.yaml --upload-certs > /root/floor/init.log 2>&1 || { tail -n 30 /root/floor/init.log >&2; exit 1; }
openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | cut -d' ' -f1
