#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Add-ons on one control plane and one worker: metrics-server, local-path, the Gateway API's CRDs and metallb by --with,
# a network, a chart and a manifest of one's own, hooks; a second run, a newer manifest that prunes, what somebody
# puts beside it, removal. cert-manager, whose programs the lab has not: before the API server.
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=addons
# shellcheck disable=SC2034 # for tests/lib/runs.sh
NODES=(cp1 w1)
STATE='' CERT_MANAGER=''

write_inventory() {
    cat >"$WORK/hosts.yaml" <<END
cluster: $CLUSTER
kubernetes:
  # All nodes of the lab share one disk: a full one must not make the kubelets throw pods out.
  ignore_preflight: [SystemVerification]
  kubelet: {imageGCHighThresholdPercent: 100, evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%"}}
ssh: {user: root, key: $LAB_SSH_KEY, known_hosts: $LAB_KNOWN_HOSTS}
nodes:
  - {name: cp1, address: 10.77.0.11, roles: [control-plane]}
  - {name: w1, address: 10.77.0.12, roles: [worker]}
END
    STATE=$WORK/$CLUSTER.state
}

# A kind of one's own, and an object of it in the same file; a Deployment, a Job. $1: the second ConfigMap's name.
write_manifest() {
    cat >"$WORK/own.yaml" <<END
apiVersion: example.com/v1
kind: Shelf
metadata: {name: first, namespace: own}
spec: {books: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shelves.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: shelves, singular: shelf, kind: Shelf}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {books: {type: integer}}}}
---
apiVersion: v1
kind: Namespace
metadata: {name: own}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: own}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers: [{name: app, image: "docker.io/kpacklab/hello:1"}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: $1, namespace: own}
data: {a: b}
END
}

write_hooks() {
    cat >"$WORK/note.sh" <<'END'
#!/bin/sh
echo "$KPACK_WHEN $KPACK_PHASE on $KPACK_NODE of $KPACK_CLUSTER" | tee -a /root/hooks.txt
test ! -e /root/stop-here || { echo "stopped by hand" >&2; exit 7; }
END
    cat >"$WORK/here.sh" <<END
#!/bin/sh
echo "\$KPACK_WHEN \$KPACK_PHASE" >>$WORK/here.txt
END
}

# A chart of one's own, packaged; its values say another word and another image than the chart does.
write_chart() {
    mkdir -p "$WORK/shop/templates"
    printf 'apiVersion: v2\nname: shop\nversion: 0.1.0\n' >"$WORK/shop/Chart.yaml"
    printf 'word: none\nimage: docker.io/kpacklab/none:1\n' >"$WORK/shop/values.yaml"
    cat >"$WORK/shop/templates/all.yaml" <<'END'
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-word, namespace: {{ .Release.Namespace }}}
data: {word: {{ .Values.word | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: {{ .Release.Name }}}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers: [{name: shop, image: {{ .Values.image | quote }}, args: [serve], ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: {{ .Release.Name }}}
spec:
  type: LoadBalancer
  selector: {app: {{ .Release.Name }}}
  ports: [{port: 80, targetPort: 8080}]
END
    printf 'word: from the site\nimage: docker.io/kpacklab/hello:1\n' >"$WORK/shop-values.yaml"
    tar -czf "$WORK/shop.tgz" -C "$WORK" shop
}

# A network of one's own: Flannel's manifest under another name, with this cluster's pods in it.
write_network() {
    sed 's,10.244.0.0/16,10.233.64.0/18,' "$UPSTREAM_FILES_DIR"/github/flannel-io/flannel/releases/download/v*/kube-flannel.yml >"$WORK/site-net.yml"
    grep -q '10.233.64.0/18' "$WORK/site-net.yml" || fail "no network in the manifest"
}

WITH=metrics-server,local-path,gateway-api,metallb
HOOKS=()
make_bundle() { # OUTPUT
    create_from_lab "$1" --key "$KEY" --with "$WITH" --manifest "$WORK/own.yaml" --chart "$WORK/shop.tgz" --values "$WORK/shop-values.yaml" \
        --network-manifest "$WORK/site-net.yml" --image docker.io/flannel/flannel:v0.28.10 --image docker.io/flannel/flannel-cni-plugin:v0.9.1 \
        "${HOOKS[@]}" >"$WORK/create.out" 2>&1 || fail "create: $(tail -n 20 "$WORK/create.out")"
}

install() { # [OPTIONS…]
    kinstall --key "$PUB" --bundle "$BUNDLE" -i "$WORK/hosts.yaml" "$@" >"$WORK/out" 2>&1
}

node() { local name=$1; shift; "$SITE" run "$name" -- "$@"; }
pod_is() { [[ $(kubectl get pod "$1" -o json | jq -r .status.phase) == "$2" ]]; }
missing() { ! kubectl get "$@" >/dev/null 2>&1; }

test_create() {
    part "a bundle with four add-ons, a network, a chart, a manifest and three hooks; without the role of hooks no site takes it"
    write_manifest old
    write_chart
    write_network
    write_hooks
    HOOKS=(--hook "prepare:before:all=$WORK/note.sh" --hook "addons:after:w1:60=$WORK/note.sh" --hook "prove:before:admin=$WORK/here.sh")
    refused 2 kpack create --k8s v1.30 --release "$E2E/lab.yaml" --plan --hook "lunch:before:all=$WORK/note.sh"
    contains "phase" "$OUTPUT" "is no phase" prepare
    refused 2 kpack create --k8s v1.30 --release "$E2E/lab.yaml" --plan --with metric-server
    contains "add-on" "$OUTPUT" "no add-on 'metric-server'" metrics-server
    make_bundle "$BUNDLE"
    refused 3 install
    contains "hooks" "$(cat "$WORK/out")" "carries 3 hooks" --allow-hooks
    refused 0 kinstall plan --allow-hooks --key "$PUB" --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    contains "plan" "$OUTPUT" "hook hook-1-note-sh before prepare" "hook hook-3-here-sh before prove"
}

test_complete() {
    part "each image of each add-on and of the chart taken out of the list: create fails and names it"
    local image images all=$WITH,cert-manager
    create_from_lab "$WORK/all.tar.zst" --unsigned --with "$all" >"$WORK/out" 2>&1 || fail "create: $(tail -n 20 "$WORK/out")"
    images=$(jq -r '.images[] | select(.why | startswith("add-on ")) | .reference' "$WORK/all.lock.json")
    for image in $images; do
        grep -vF "$image" "$E2E/lab.yaml" >"$WORK/less.yaml"
        refused 5 kpack create --k8s v1.30 --release "$WORK/less.yaml" --mirrors "$E2E/mirrors.yaml" --plan --unsigned --with "$all"
        contains "without $image" "$OUTPUT" "$image is not in the bundle"
    done
    say "$(wc -w <<<"$images") images"
    CERT_MANAGER=$(jq -r '.manifests[] | select(.name == "cert-manager").sha256' "$WORK/all.lock.json")
    rm "$WORK/all.tar.zst"
    jq '.images |= map(select(.reference != "docker.io/kpacklab/hello:1"))' "${BUNDLE%.tar.zst}.lock.json" >"$WORK/less.json"
    refused 5 kpack create --mirrors "$E2E/mirrors.yaml" --lock "$WORK/less.json" --unsigned --output "$WORK/less.tar.zst"
    contains "the chart's" "$OUTPUT" "docker.io/kpacklab/hello:1" "is not in the bundle" shop
}

test_install() {
    part "a hook that fails on one node ends the run on all and is named; the same command goes on with it"
    node w1 touch /root/stop-here
    refused 1 install --allow-hooks
    contains "failed hook" "$(cat "$WORK/out")" "hook-1-note-sh" "exit 7" "stopped by hand" w1 "nothing that comes after it was begun"
    expect "begun since phase prepare" hook "$(sed '1,/"phase".*"prepare"/d' "$STATE/journal.jsonl" | jq -r 'select(.event == "begin" or .event == "phase") | .step' | sort -u | paste -sd' ')"
    ! node cp1 test -e /etc/containerd/config.toml || fail "cp1 went on without w1's hook"
    node w1 rm /root/stop-here
    part "installed: each add-on is waited for, checked and named"
    install --allow-hooks || fail "install: $(tail -n 40 "$WORK/out")"
    contains "screen" "$(cat "$WORK/out")" "metrics-server 0.9.0" "local-path 0.0.30" "gateway-api 1.2.1" "metallb 0.14.9" own shop
    fetch_kubectl
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    expect "report" "gateway-api local-path metallb metrics-server own shop" \
        "$(jq -r '[.checks[] | select(.name | startswith("add-on ")) | select(.ok) | .name[7:]] | unique | join(" ")' "$STATE/report.json")"
    expect "hook on cp1, once" "before prepare on cp1 of addons" "$(node cp1 cat /root/hooks.txt)"
    expect "hooks on w1" "before prepare on w1 of addons|before prepare on w1 of addons|after addons on w1 of addons" \
        "$(node w1 cat /root/hooks.txt | paste -sd'|')"
    expect "hook here" "before prove" "$(cat "$WORK/here.txt")"
    grep -q "after addons on w1" "$STATE/log/w1.log" || fail "the hook's output is not in the node's log"
    seen hooks running
}

test_use() {
    part "kubectl top shows the nodes; a claim is bound and written; a Gateway and a Shelf are there"
    expect "top" "cp1 w1" "$(kubectl top nodes --no-headers | awk '{print $1}' | sort | paste -sd' ')"
    say "$(kubectl top nodes --no-headers | paste -sd';')"
    [[ $(kubectl -n kube-system get deployment metrics-server -o json) != *insecure* ]] || fail "metrics-server does not verify kubelets"
    kubectl apply -f - >"$WORK/apply.out" 2>&1 <<'END' || fail "claim: $(cat "$WORK/apply.out")"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim, namespace: default}
spec: {storageClassName: local-path, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer, namespace: default}
spec:
  restartPolicy: Never
  containers:
    - {name: w, image: "docker.io/library/busybox:latest", command: [sh, -c, "echo written > /v/f && cat /v/f"], volumeMounts: [{name: v, mountPath: /v}]}
  volumes: [{name: v, persistentVolumeClaim: {claimName: claim}}]
END
    soon 180 pod_is writer Succeeded || fail "the pod did not write: $(kubectl describe pod writer)"
    expect "claim" Bound "$(kubectl get pvc claim -o json | jq -r .status.phase)"
    expect "written" written "$(kubectl logs writer)"
    expect "shelf" 3 "$(kubectl -n own get shelf first -o json | jq .spec.books)"
    kubectl get crd httproutes.gateway.networking.k8s.io >/dev/null || fail "no HTTPRoute"
    kubectl delete pod/writer pvc/claim --wait=false >/dev/null
    soon 120 missing pvc claim || fail "the claim is not gone"
    seen metrics-server running
    seen local-path running
    seen gateway-api running
    seen own-manifest running
}

# What the chart's Service has: an address of metallb's, which answers outside the cluster.
test_chart() {
    part "the chart's values are the site's; its Service gets an address of metallb's, which the site reaches"
    local address
    expect "values" "from the site" "$(kubectl get configmap shop-word -o json | jq -r .data.word)"
    kubectl apply -f - >"$WORK/apply.out" 2>&1 <<'END' || fail "pool: $(cat "$WORK/apply.out")"
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: site, namespace: metallb-system}
spec: {addresses: [10.77.0.240/30]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: site, namespace: metallb-system}
END
    soon 60 has_address shop || fail "no address: $(kubectl describe service shop)"
    address=$(kubectl get service shop -o json | jq -r '.status.loadBalancer.ingress[0].ip')
    contains "address" "$address" 10.77.0.24
    soon 60 "$SITE" exec -- curl -sS -m 3 -o "$WORK/hello.out" "http://$address/" 2>/dev/null || fail "$address does not answer"
    contains "answer" "$(cat "$WORK/hello.out")" "hello from shop-"
    seen own-network running
    seen own-chart running
    seen metallb running
}
has_address() { [[ -n $(kubectl get service "$1" -o json | jq -r '.status.loadBalancer.ingress[0].ip // ""') ]]; }

test_dry() {
    part "cert-manager, as it would be applied, is taken by the API server (dry run)"
    kubectl create namespace cert-manager >/dev/null
    find "$CACHE" -name "$CERT_MANAGER" -exec cat {} \; >"$WORK/cert-manager.yaml"
    kubectl apply --server-side --dry-run=server -f "$WORK/cert-manager.yaml" >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    contains "dry run" "$(cat "$WORK/out")" "deployment.apps/cert-manager-webhook serverside-applied (server dry run)" \
        "customresourcedefinition.apiextensions.k8s.io/issuers.cert-manager.io serverside-applied"
    say "$(grep -c 'server dry run' "$WORK/out") objects"
    kubectl delete namespace cert-manager >/dev/null
    seen cert-manager validated
}

test_again() {
    part "again: nothing changes"
    install --allow-hooks || fail "again: $(tail -n 40 "$WORK/out")"
    contains "second run" "$(cat "$WORK/out")" "nothing had to be changed"
}

test_newer() {
    part "a newer manifest: what it no longer has is pruned"
    write_manifest new
    HOOKS=()
    make_bundle "$BUNDLE"
    install || fail "newer: $(tail -n 40 "$WORK/out")"
    missing -n own configmap old || fail "the old ConfigMap is still there"
    kubectl -n own get configmap new >/dev/null || fail "the new ConfigMap is not there"
    seen prune running
}

test_remove() {
    part "remove-addon takes what was applied, and not what somebody put beside it; every SSH connection is cut amid one, and amid --undo"
    local cmd=(kinstall remove-addon -i "$WORK/hosts.yaml" --key "$PUB")
    kubectl -n own create configmap mine >/dev/null
    refused 2 "${cmd[@]}" --yes nosuch
    contains "unknown" "$OUTPUT" "it has" metrics-server own
    refused 0 "${cmd[@]}" --yes own
    contains "stays" "$OUTPUT" "Namespace own: it holds what is not of this add-on: ConfigMap mine"
    missing -n own deployment app || fail "the Deployment is still there"
    missing crd shelves.example.com || fail "the kind is still there"
    kubectl -n own get configmap mine >/dev/null || fail "somebody's ConfigMap went with it"
    kubectl -n metallb-system delete ipaddresspool/site l2advertisement/site >/dev/null # else its kinds would stay
    cut_amid event=remove-addon remove-addon -i "$WORK/hosts.yaml" --key "$PUB" --yes metallb
    [[ $CUT_SAID$(cat "$RUN_OUT") != *stays\ \ * ]] || fail "metallb: $CUT_SAID $(cat "$RUN_OUT")"
    for name in shop metrics-server local-path gateway-api; do
        refused 0 "${cmd[@]}" --yes "$name"
        [[ $OUTPUT != *stays\ \ * ]] || fail "$name: $OUTPUT"
    done
    missing namespace local-path-storage || fail "local-path's namespace is still there"
    expect "left of them" "" "$(kubectl get clusterrole,clusterrolebinding,storageclass,apiservice,crd -o name |
        grep -E 'metrics-server|metrics.k8s.io|local-path|gateway|example.com|metallb' || true)"
    missing deployment shop || fail "the chart's Deployment is still there"
    part "they stay away until somebody says otherwise"
    install || fail "after removal: $(tail -n 40 "$WORK/out")"
    contains "stays away" "$(cat "$WORK/out")" "gateway-api stays away" "nothing had to be changed"
    cut_amid 0.7 remove-addon -i "$WORK/hosts.yaml" --key "$PUB" --undo gateway-api
    install || fail "after undo: $(tail -n 40 "$WORK/out")"
    kubectl get crd httproutes.gateway.networking.k8s.io >/dev/null || fail "gateway-api did not come back"
    seen remove-addon running
}

e2e_begin addons
UPSTREAM_WITH=${UPSTREAM_WITH:+$UPSTREAM_WITH,}metrics-server,local-path,gateway-api,metallb,cert-manager,helm
export UPSTREAM_WITH
upstream_up
E2E=$WORK BUNDLE=$WORK/k8s.tar.zst # a release file with the groups, and a bundle of its own
"$UPSTREAM" release-file "$E2E/lab.yaml"
"$UPSTREAM" mirrors-file "$E2E/mirrors.yaml"
KEY=$WORK/keys/e2e.key PUB=$WORK/keys/e2e.pub
kpack keygen e2e --folder "$WORK/keys" >/dev/null

"$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
eval "$("$SITE" env)"
write_inventory
test_create
test_complete
test_install
test_use
test_chart
test_dry
test_again
test_newer
test_remove
part end
