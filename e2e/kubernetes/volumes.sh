#!/usr/bin/env bash
# Makes folders for volumes and prints their PersistentVolumes with a default StorageClass. Volumes of the kind `local` get a Pod's fsGroup, as a cloud's do.
set -euo pipefail
. "$(dirname "$0")/settings.sh"
# As many claims as one run of the stories makes: a volume that was released is not used again.
volumes=64

cat <<YAML
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: local
  annotations: {storageclass.kubernetes.io/is-default-class: "true"}
provisioner: kubernetes.io/no-provisioner
reclaimPolicy: Retain
volumeBindingMode: WaitForFirstConsumer
YAML
for ((volume = 0; volume < volumes; volume++)); do
  mkdir -p "$state/volumes/$volume"
  cat <<YAML
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$volume}
spec:
  capacity: {storage: 100Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: local
  persistentVolumeReclaimPolicy: Retain
  local: {path: $state/volumes/$volume}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [$node_name]}]}]}}
YAML
done
