#!/usr/bin/env bash
# Every node: files, containerd, HAProxy in front of the API, images.
# Given: BACKENDS FILES IMAGES PAUSE REGISTRY UPSTREAMS
set -euo pipefail
fetch() {
  curl -fsS --create-dirs -o "$1" "$REGISTRY/v2/bare-metal-kubernetes/files/blobs/sha256:$2"
  echo "$2  $1" | sha256sum --check --quiet
  chmod 755 "$1"
}
pids=()
while read -r path sum; do fetch "$path" "$sum" & pids+=($!); done <<< "$FILES"
mkdir -p /etc/containerd /etc/kubernetes/manifests /etc/systemd/system/kubelet.service.d
cat > /etc/sysctl.d/99-kubernetes.conf <<< "net.ipv4.ip_forward = 1"
sysctl -q -p /etc/sysctl.d/99-kubernetes.conf
cat > /etc/containerd/config.toml <<END
version = 3
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "$PAUSE"
[plugins."io.containerd.cri.v1.images".registry]
  config_path = "/etc/containerd/certs.d"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
    SystemdCgroup = true
END
for upstream in $UPSTREAMS; do
  mkdir -p "/etc/containerd/certs.d/$upstream"
  cat > "/etc/containerd/certs.d/$upstream/hosts.toml" <<END
server = "$REGISTRY/v2/$upstream"
capabilities = ["pull", "resolve"]
override_path = true
END
done
cat > /etc/crictl.yaml <<< "runtime-endpoint: unix:///run/containerd/containerd.sock"
cat > /etc/systemd/system/containerd.service <<END
[Service]
Type=notify
ExecStart=/usr/local/bin/containerd
Delegate=yes
KillMode=process
Restart=always
LimitNOFILE=infinity
TasksMax=infinity
[Install]
WantedBy=multi-user.target
END
cat > /etc/systemd/system/kubelet.service <<END
[Unit]
After=containerd.service
ConditionPathExists=/var/lib/kubelet/config.yaml
[Service]
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
ExecStart=/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf \
  --config=/var/lib/kubelet/config.yaml \$KUBELET_KUBEADM_ARGS
Restart=always
[Install]
WantedBy=multi-user.target
END
cat > /etc/haproxy/haproxy.cfg <<END
global
  maxconn 8192
defaults
  mode tcp
  timeout connect 1s
  timeout client 4h
  timeout server 4h
frontend api
  bind 127.0.0.1:7443
  default_backend apis
backend apis
  option httpchk GET /readyz
  default-server check check-ssl verify none inter 1s
$BACKENDS
END
systemctl daemon-reload
systemctl -q enable kubelet
systemctl -q enable --now haproxy
for pid in "${pids[@]}"; do wait "$pid"; done
systemctl -q enable --now containerd
pids=()
for image in $IMAGES; do crictl pull -q "$image" > /dev/null & pids+=($!); done
for pid in "${pids[@]}"; do wait "$pid"; done
