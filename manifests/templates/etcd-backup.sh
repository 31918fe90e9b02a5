#!/bin/sh
# written by kinstall: a snapshot of etcd, verified before it gets its name; the oldest beyond KEEP go
set -eu
cd /var/lib/kpack-etcd-backup
name=$CLUSTER-$(date -u +%Y%m%dT%H%M%SZ).db
rm -f ./*.partial ./*.partial.part
/usr/local/bin/etcdctl --endpoints=https://127.0.0.1:2379 --command-timeout=600s snapshot save "$name.partial"
/usr/local/bin/etcdutl snapshot status "$name.partial" -w json >"$name.json.partial"
sha256sum "$name.partial" | cut -d ' ' -f 1 >"$name.sha256.partial"
sync -f "$name.partial"
mv "$name.json.partial" "$name.json"
mv "$name.sha256.partial" "$name.sha256"
mv "$name.partial" "$name"
set -- "$CLUSTER"-*.db # the oldest first
while [ "$#" -gt "$KEEP" ]; do
    rm -f "$1" "$1.json" "$1.sha256"
    shift
done
