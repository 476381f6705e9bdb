#!/usr/bin/env bash
# A member of etcd.
# Given: CLUSTER IP NAME PKI
set -euo pipefail
mkdir -p /etc/kubernetes/pki
base64 -d <<< "$PKI" | tar -C /etc/kubernetes/pki -xz
chmod 700 /var/lib/etcd
cat > /etc/systemd/system/etcd.service <<END
[Service]
Type=notify
ExecStart=/usr/local/bin/etcd --name $NAME --data-dir /var/lib/etcd/member --initial-cluster $CLUSTER --initial-cluster-state new \
  --listen-peer-urls https://$IP:2380 --initial-advertise-peer-urls https://$IP:2380 \
  --listen-client-urls https://$IP:2379,https://127.0.0.1:2379 --advertise-client-urls https://$IP:2379 \
  --cert-file /etc/kubernetes/pki/etcd/server.crt --key-file /etc/kubernetes/pki/etcd/server.key --client-cert-auth --trusted-ca-file /etc/kubernetes/pki/etcd/ca.crt \
  --peer-cert-file /etc/kubernetes/pki/etcd/peer.crt --peer-key-file /etc/kubernetes/pki/etcd/peer.key --peer-client-cert-auth --peer-trusted-ca-file /etc/kubernetes/pki/etcd/ca.crt
Restart=always
LimitNOFILE=65536
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl -q enable --now etcd
