#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# An upgrade under load: a control plane and two workers go from 1.30.14 to 1.31.14 while a Deployment
# answers on every node; the run is killed once amid kubeadm's work, stops at a worker whose new kubelet does
# not start, which is taken back, mended and upgraded after all, as is one that was done. "upgrade.sh long": three control planes, of
# which the first is the one that breaks, and from there to 1.32.13. Needs root. Run: tests/e2e/upgrade.sh [long]
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=upgrade
IMAGE=docker.io/kpacklab/hello:1
PORT=30080
if [[ ${1:-} == long ]]; then
    NAMES=(cp1 cp2 cp3 w1) BROKEN=cp1
    VERSIONS=(1.30.14 1.31.14 1.32.13)
else
    NAMES=(cp1 w1 w2) BROKEN=w2
    VERSIONS=(1.30.14 1.31.14)
fi

# shellcheck disable=SC2034 # for tests/lib/runs.sh
NODES=("${NAMES[@]}")

address() { # NODE
    local i
    for i in "${!NAMES[@]}"; do [[ ${NAMES[i]} != "$1" ]] || echo "10.77.0.$((11 + i))"; done
}

bundle_of() { printf '%s/upgrade-%s.tar.zst' "$E2E" "$1"; }

# One bundle per version, made once for each state of our programs and of the upstream.
make_bundles() {
    local version file stamp
    shared_bundle
    upstream_up --k8s "$(IFS=,; echo "${VERSIONS[*]}")"
    for version in "${VERSIONS[@]}"; do
        file=$(bundle_of "$version")
        "$UPSTREAM" release-file "$WORK/lab-$version.yaml" --k8s "$version"
        stamp=$(bundle_stamp "$WORK/lab-$version.yaml")
        [[ ! -f $file || $(cat "$file.stamp" 2>/dev/null) != "$stamp" ]] || continue
        rm -f "$file" "$file.stamp"
        printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made-for, namespace: default}\ndata: {version: "%s"}\n' "$version" >"$WORK/made-for.yaml"
        kpack create --k8s "v$version" --release "$WORK/lab-$version.yaml" --mirrors "$E2E/mirrors.yaml" --image "$IMAGE" \
            --manifest "$WORK/made-for.yaml" --key "$KEY" --output "$file"
        echo "$stamp" >"$file.stamp"
    done
}

start_upgrade() { # VERSION
    start_kinstall upgrade --bundle "$(bundle_of "$1")" -i "$WORK/hosts.yaml" --node-timeout 240
}

wait_begun() { wait_noted event=begin step=upgrade "node=$1"; }

# "cp1=v1.31.14 w1=v1.30.14": each node's kubelet as the API server knows it.
kubelets() {
    kubectl get nodes -o json | jq -r '[.items[] | .metadata.name + "=" + .status.nodeInfo.kubeletVersion] | sort | join(" ")'
}

all_at() { # VERSION: what kubelets says then
    local name text=''
    for name in "${NAMES[@]}"; do text+="${text:+ }$name=v$1"; done
    echo "$text"
}

all_ready() {
    local name text=''
    for name in "${NAMES[@]}"; do text+="${text:+ }$name=True"; done
    [[ $(ready_nodes) == "$text" ]]
}

deploy() {
    kubectl apply -f - <<END
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      terminationGracePeriodSeconds: 30
      tolerations: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: hello}}}
      containers:
        - name: hello
          image: $IMAGE
          args: [serve]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
          lifecycle: {preStop: {sleep: {seconds: 6}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: hello}
spec: {minAvailable: 1, selector: {matchLabels: {app: hello}}}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {type: NodePort, selector: {app: hello}, ports: [{port: 80, targetPort: 8080, nodePort: $PORT}]}
END
    kubectl rollout status deployment/hello --timeout=120s >/dev/null
}

# Asks each node in turn, about ten times a second, a new connection each: "TIME NODE HTTP-CODE".
start_load() {
    local name targets=()
    for name in "${NAMES[@]}"; do
        targets+=("$name=$(address "$name")")
        soon 60 "$SITE" exec -- curl -sf -o /dev/null -m 3 "http://$(address "$name"):$PORT/" || fail "the Deployment does not answer on $name"
    done
    # shellcheck disable=SC2016 # for the shell over there
    "$SITE" exec -- bash -c 'port=$1; shift
        while :; do for target; do
            code=$(curl -s -o /dev/null -m 3 -w "%{http_code}" "http://${target#*=}:$port/") || :
            printf "%(%H:%M:%S)T %s %s\n" -1 "${target%%=*}" "$code"
            sleep 0.05
        done; done' bash $PORT "${targets[@]}" >"$WORK/load" 2>&1 &
    LOAD=$!
}

load_lines() { wc -l <"$WORK/load"; }
load_failed() { grep -cv ' 200$' "$WORK/load" || true; }

# The new kubelet does not start on this node, until it is mended.
break_kubelet() { # NODE VERSION
    "$SITE" run "$1" -- bash -c "mkdir -p /etc/systemd/system/kubelet.service.d
        printf '[Service]\nExecStartPre=/bin/sh -c \"! /usr/local/bin/kubelet --version | grep -qF v$2\"\n' >/etc/systemd/system/kubelet.service.d/99-broken.conf
        systemctl daemon-reload"
}

mend_kubelet() {
    "$SITE" run "$1" -- bash -c 'rm /etc/systemd/system/kubelet.service.d/99-broken.conf && systemctl daemon-reload'
}

runtime_of() { kubectl get node "$1" -o 'jsonpath={.status.nodeInfo.containerRuntimeVersion}'; }

# What the bundle's own manifest has put there.
made_for() { kubectl get configmap made-for -o 'jsonpath={.data.version}'; }

# "cp1 71 s, w1 32 s": from the journal of this run, the nodes that it did from beginning to end.
node_seconds() {
    tail -n "+$((JOURNAL_BEFORE + 1))" "$(journal)" | jq -rs '[.[] | select(.step == "upgrade" and .node)] | group_by(.node)
        | map(select(.[0].event == "begin" and .[-1].event == "done") | "\(.[0].node) \(.[-1].after - .[0].after | round) s") | join(", ")'
}

control_version() { # NODE
    "$SITE" run "$1" -- sed -n 's/.*image: .*kube-apiserver:v//p' /etc/kubernetes/manifests/kube-apiserver.yaml
}

test_install() {
    local old=${VERSIONS[0]} new=${VERSIONS[1]} nodes=() name
    part "${#NAMES[@]} nodes with $old, a Deployment that answers"
    for name in "${NAMES[@]}"; do nodes+=(--node "$name=$(address "$name")"); done
    "$SITE" up "${nodes[@]}"
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
    kinstall trust add "$PUB"
    BUNDLE=$(bundle_of "$old")
    kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml" | tail -n 2
    fetch_kubectl
    deploy
    start_load
    expect "packets that left while it was installed: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
    part "another version comes by upgrade only, and the plan changes nothing"
    refused 1 kinstall --bundle "$(bundle_of "$new")" -i "$WORK/hosts.yaml"
    contains "apply" "$OUTPUT" "has Kubernetes v$old, the bundle is of v$new" "kinstall upgrade"
    OUTPUT=$(kinstall upgrade --plan --bundle "$(bundle_of "$new")" -i "$WORK/hosts.yaml")
    contains "plan" "$OUTPUT" "containerd   1.7.27 -> 2.1.9" "pause        3.9 -> 3.10" "nothing was changed"
    expect "made for" "$old" "$(made_for)"
    [[ $(grep -c 'to do$' <<<"$OUTPUT") == "${#NAMES[@]}" ]] || fail "plan: not every node is to be done: $OUTPUT"
    expect "kubelets" "$(all_at "$old")" "$(kubelets)"
    refused 5 kinstall rollback "$BROKEN" -i "$WORK/hosts.yaml"
    contains "rollback" "$OUTPUT" "keeps nothing of before"
    if ((${#VERSIONS[@]} > 2)); then
        refused 1 kinstall upgrade --bundle "$(bundle_of "${VERSIONS[2]}")" -i "$WORK/hosts.yaml"
        contains "two minors" "$OUTPUT" "2 minor versions" "first a bundle of v1.31"
    fi
}

test_killed_and_stopped() {
    local old=${VERSIONS[0]} new=${VERSIONS[1]}
    part "killed amid kubeadm's work on cp1; the next run takes it up and stops at $BROKEN, whose kubelet is broken"
    break_kubelet "$BROKEN" "$new"
    start_upgrade "$new"
    wait_begun cp1
    sleep 8
    kill -KILL "$KINSTALL" || fail "the run was over already: $(cat "$RUN_OUT")"
    wait "$KINSTALL" 2>/dev/null || true
    start_upgrade "$new"
    finish_run
    expect "exit code" 1 "$CODE"
    contains "the run that stopped" "$(cat "$RUN_OUT")" "upgrade   $BROKEN:" "kinstall rollback $BROKEN"
    say "$(grep -a -A1 "upgrade   $BROKEN:" "$RUN_OUT" | sed -n 1,2p)"
    say "packets that left so far: $("$SITE" egress)"
    [[ $BROKEN != cp1 ]] || expect "the API server of cp1" "$new" "$(control_version cp1)"
    [[ $BROKEN != w2 ]] || contains "kubelets" "$(kubelets)" "cp1=v$new" "w1=v$new" "w2=v$old"
}

test_back() {
    local old=${VERSIONS[0]} new=${VERSIONS[1]}
    part "rollback has $BROKEN back, Ready"
    if [[ $BROKEN != cp1 ]]; then
        refused 1 kinstall rollback cp1 -i "$WORK/hosts.yaml"
        contains "rollback of cp1" "$OUTPUT" "must not be newer than the API server"
    fi
    kinstall rollback "$BROKEN" -i "$WORK/hosts.yaml"
    contains "kubelets" "$(kubelets)" "$BROKEN=v$old"
    all_ready || fail "not all Ready: $(ready_nodes)"
    expect "runtime of $BROKEN" containerd://1.7.27 "$(runtime_of "$BROKEN")"
    [[ $BROKEN != cp1 ]] || expect "the API server of cp1" "$old" "$(control_version cp1)"
    expect "cordoned" "" "$(kubectl get nodes -o json | jq -r '.items[] | select(.spec.unschedulable) | .metadata.name')"
    mend_kubelet "$BROKEN"
    seen rollback running
}

test_to() { # VERSION CONTAINERD
    part "to $1 on all nodes; every SSH connection is cut amid the last one"
    start_upgrade "$1"
    wait_begun "${NAMES[-1]}"
    sleep 2
    cut_ssh "${NAMES[@]}"
    finish_run
    say "that run ended with $CODE"
    if ((CODE != 0)); then
        start_upgrade "$1"
        finish_run
    fi
    expect "exit code of upgrade: $(tail -n 30 "$RUN_OUT")" 0 "$CODE"
    say "$(tail -n 1 "$RUN_OUT"); $(node_seconds); packets that left so far: $("$SITE" egress)"
    expect "kubelets" "$(all_at "$1")" "$(kubelets)"
    expect "made for" "$1" "$(made_for)"
    all_ready || fail "not all Ready: $(ready_nodes)"
    expect "runtime" "containerd://$2" "$(runtime_of "${NAMES[-1]}")"
    soon 60 no_unready_pods || fail "not ready: $(unready_pods)"
    expect "API server" "v$1" "$(kubectl version -o json | jq -r .serverVersion.gitVersion)"
    expect "bundles that the mirror serves" 2 "$("$SITE" run cp1 -- grep -o -e '--bundle ' /etc/systemd/system/kregistry.service | wc -l)"
    part "one more run changes nothing, and there is no way back for the cluster"
    kinstall apply --json --bundle "$(bundle_of "$1")" -i "$WORK/hosts.yaml" >"$WORK/again.json"
    expect "changes" 0 "$(jq .changes "$WORK/again.json")"
    refused 1 kinstall upgrade --bundle "$BUNDLE" -i "$WORK/hosts.yaml" --allow-downgrade "$(kpack inspect --key "$PUB" --json "$BUNDLE" | jq -r .serial)"
    contains "a downgrade" "$OUTPUT" "newer than the bundle's"
    seen upgrade running
}

# Its containers were made by the newer containerd, which the older one cannot take over.
test_done_and_back() { # NODE
    local old=${VERSIONS[0]} new=${VERSIONS[1]}
    part "$1, whose upgrade has ended, is taken back all the same, every SSH connection being cut amid it, and upgraded again"
    cut_amid 8 rollback "$1" -i "$WORK/hosts.yaml"
    contains "kubelets" "$(kubelets)" "$1=v$old" "cp1=v$new"
    all_ready || fail "not all Ready: $(ready_nodes)"
    expect "runtime of $1" containerd://1.7.27 "$(runtime_of "$1")"
    soon 60 no_unready_pods || fail "not ready: $(unready_pods)"
    start_upgrade "$new"
    finish_run
    expect "exit code of upgrade: $(tail -n 30 "$RUN_OUT")" 0 "$CODE"
    say "$(tail -n 1 "$RUN_OUT"); $(node_seconds)"
    expect "kubelets" "$(all_at "$new")" "$(kubelets)"
    soon 60 no_unready_pods || fail "not ready: $(unready_pods)"
}

test_load() {
    local lines failed
    part "requests while it was upgraded"
    kill "$LOAD"
    wait "$LOAD" 2>/dev/null || true
    lines=$(load_lines) failed=$(load_failed)
    say "$lines requests, $failed failed"
    grep -v ' 200$' "$WORK/load" | sed -n 1,20p || true
    ((lines > 500)) || fail "only $lines requests"
    ((failed * 1000 <= lines)) || fail "$failed of $lines requests failed, more than one in a thousand"
    expect "packets that left: $("$SITE" egress detail)" 0 "$("$SITE" egress)"
}

e2e_begin upgrade
part "bundles of ${VERSIONS[*]}"
make_bundles
test_install
test_killed_and_stopped
test_back
test_to "${VERSIONS[1]}" 2.1.9
[[ $BROKEN == cp1 ]] || test_done_and_back w1
((${#VERSIONS[@]} < 3)) || test_to "${VERSIONS[2]}" 2.1.9
test_load
part end
