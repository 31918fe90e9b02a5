#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runtimes: containerd 1.7 and 2.1 side by side, crictl and nerdctl as an operator types them, a registry of
# the site with a password and a proxy that must not be asked, a restart, and another runtime on a node.
# long: Multus on Flannel; the control plane's runtime upward and downward, each run killed amid it.
# Needs root. Run: tests/e2e/runtimes.sh [long]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=mixed
# shellcheck disable=SC2034 # for tests/lib/runs.sh
NODES=(cp1 w1)
REGISTRY_HOST=10.77.0.1:5443
USER_NAME=bot
PASSWORD="pass:word-$RANDOM-$RANDOM"
IMAGE=$REGISTRY_HOST/apps/hello:1
TOKEN_HOST=10.77.0.1:5447 # a registry that wants tokens, which another service gives
TOKEN_SERVICE=10.77.0.1:5448
TOKEN_IMAGE=$TOKEN_HOST/private/hello:1

good() {
    "$@" >"$WORK/out" 2>&1 || fail "${*:0:6}: $(tail -n 40 "$WORK/out")"
}

k() { kinstall --bundle "$WORK/k8s.tar.zst" -i "$WORK/hosts.yaml" "$@"; }
k_verb() {
    local verb=$1
    shift
    kinstall "$verb" --bundle "$WORK/k8s.tar.zst" -i "$WORK/hosts.yaml" "$@"
}

on() { # NODE COMMAND-LINE: as an operator types it
    "$SITE" run "$1" -- bash -lc "$2"
}

runtime_of() { kubectl get node "$1" -o jsonpath='{.status.nodeInfo.containerRuntimeVersion}'; }

# The real distribution registry on the admin side, with TLS of a CA of its own and Basic authentication.
start_registry() {
    local tls=$WORK/registry
    mkdir -p "$tls/data"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -subj "/CN=site registry CA" \
        -addext keyUsage=critical,keyCertSign -keyout "$tls/ca.key" -out "$tls/ca.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=registry" -keyout "$tls/tls.key" -out "$tls/tls.csr" 2>/dev/null
    openssl x509 -req -in "$tls/tls.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 30 \
        -extfile <(printf 'subjectAltName=IP:10.77.0.1\nextendedKeyUsage=serverAuth\n') -out "$tls/tls.pem" 2>/dev/null
    printf '%s:%s\n' "$USER_NAME" "$(SECRET=$PASSWORD python3 -W ignore -c 'import crypt, os
print(crypt.crypt(os.environ["SECRET"], crypt.mksalt(crypt.METHOD_BLOWFISH)))')" >"$tls/htpasswd"
    cat >"$tls/config.yml" <<END
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "$tls/data"}}
http: {addr: "10.77.0.1:5443", secret: lab, tls: {certificate: "$tls/tls.pem", key: "$tls/tls.key"}}
auth: {htpasswd: {realm: site, path: "$tls/htpasswd"}}
END
    "$SITE" exec -- env OTEL_TRACES_EXPORTER=none "$REGISTRY_PROGRAM" serve "$tls/config.yml" >"$WORK/registry.log" 2>&1 &
    mkdir -p "$tls/docker"
    jq -n --arg host "$REGISTRY_HOST" --arg auth "$(printf '%s:%s' "$USER_NAME" "$PASSWORD" | base64 -w0)" '{auths: {($host): {auth: $auth}}}' >"$tls/docker/config.json"
    soon 30 "$SITE" exec -- curl -s -o /dev/null --cacert "$tls/ca.pem" "https://$REGISTRY_HOST/v2/" || fail "the registry does not come up: $(cat "$WORK/registry.log")"
    good "$SITE" exec -- env DOCKER_CONFIG="$tls/docker" SSL_CERT_FILE="$tls/ca.pem" "$CRANE" push "$HELLO_LAYOUT" "$IMAGE"
    expect "without a password" 401 "$("$SITE" exec -- curl -s -o /dev/null -w '%{http_code}' --cacert "$tls/ca.pem" "https://$REGISTRY_HOST/v2/apps/hello/manifests/1")"
}

# The same program, with a token service beside it: nginx speaks TLS for the lab's own token server.
start_token_registry() {
    local tls=$WORK/registry
    mkdir -p "$tls/tokens"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 -subj "/CN=token signer" -keyout "$tls/token.key" -out "$tls/token.pem" 2>/dev/null
    cat >"$tls/token.yml" <<END
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "$tls/tokens"}}
http: {addr: "$TOKEN_HOST", secret: lab, tls: {certificate: "$tls/tls.pem", key: "$tls/tls.key"}}
auth: {token: {realm: "https://$TOKEN_SERVICE/token", service: "$TOKEN_HOST", issuer: kpack-lab, rootcertbundle: "$tls/token.pem"}}
END
    cat >"$tls/nginx.conf" <<END
user root; daemon off; pid $tls/nginx.pid; error_log $tls/nginx.err;
events {}
http {
    access_log off; client_body_temp_path $tls/body; proxy_temp_path $tls/proxy; fastcgi_temp_path $tls/f; uwsgi_temp_path $tls/u; scgi_temp_path $tls/s;
    server { listen $TOKEN_SERVICE ssl; ssl_certificate $tls/tls.pem; ssl_certificate_key $tls/tls.key; location / { proxy_pass http://unix:$tls/token.sock:; } }
}
END
    "$UPSTREAMD" -socket "$tls/token.sock" -key "$tls/token.key" -cert "$tls/token.pem" -service "$TOKEN_HOST" -user "$USER_NAME" -password-file "$WORK/bot.pw" -www "$tls" \
        >"$WORK/token.log" 2>&1 &
    "$SITE" exec -- nginx -c "$tls/nginx.conf" >>"$WORK/token.log" 2>&1 &
    "$SITE" exec -- env OTEL_TRACES_EXPORTER=none "$REGISTRY_PROGRAM" serve "$tls/token.yml" >>"$WORK/token.log" 2>&1 &
    jq -n --arg host "$TOKEN_HOST" --arg auth "$(printf '%s:%s' "$USER_NAME" "$PASSWORD" | base64 -w0)" '{auths: {($host): {auth: $auth}}}' >"$tls/docker/config.json"
    soon 30 "$SITE" exec -- curl -s -o /dev/null --cacert "$tls/ca.pem" "https://$TOKEN_SERVICE/token" || fail "no token service: $(cat "$WORK/token.log" "$tls/nginx.err")"
    good "$SITE" exec -- env DOCKER_CONFIG="$tls/docker" SSL_CERT_FILE="$tls/ca.pem" "$CRANE" push "$HELLO_LAYOUT" "$TOKEN_IMAGE"
    contains "what it wants" "$("$SITE" exec -- curl -si --cacert "$tls/ca.pem" "https://$TOKEN_HOST/v2/private/hello/manifests/1")" "401" "Bearer realm"
}

write_inventory() { # RUNTIME-OF-W1 [RUNTIME-OF-CP1]
    (umask 077 && printf '%s\n' "$PASSWORD" >"$WORK/bot.pw")
    {
        cat <<END
registries:
  - {host: "$REGISTRY_HOST", ca: registry/ca.pem, username: $USER_NAME, password_file: bot.pw}
  - {host: "$TOKEN_HOST", ca: registry/ca.pem, username: $USER_NAME, password_file: bot.pw}
proxy: {http: "http://10.77.0.250:3128", https: "http://10.77.0.250:3128", no_proxy: ["10.77.0.1"]}
END
        "$SITE" hosts-yaml --cluster "$CLUSTER"
    } >"$WORK/hosts.yaml"
    sed -i "s/name: w1,/name: w1, runtime: $1,/; s/name: cp1,/name: cp1, runtime: ${2:-containerd-1.7},/" "$WORK/hosts.yaml"
    grep -q "runtime: $1" "$WORK/hosts.yaml" || fail "no node w1 in the inventory: $(cat "$WORK/hosts.yaml")"
}

pod_on() { # NAME NODE [IMAGE]
    kubectl run "$1" --image="${3:-$IMAGE}" --overrides="{\"spec\":{\"nodeName\":\"$2\",\"automountServiceAccountToken\":false}}" >/dev/null
}

runs() { [[ $(kubectl get pod "$1" -o jsonpath='{.status.phase}') == Running ]]; }

containers_of() { on "$1" 'ctr -n k8s.io tasks ls -q | sort'; }

test_install() {
    part "one cluster, containerd 1.7 on cp1 and 2.1 on w1"
    good k
    sed 's/^/     /' <"$WORK/out" | tail -n 3
    fetch_kubectl
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    contains "cp1" "$(runtime_of cp1)" containerd://1.7
    contains "w1" "$(runtime_of w1)" containerd://2.1
    good k_verb plan
    contains "a second run" "$(cat "$WORK/out")" "everything is as it should be"
    seen containerd-1.7 running
    seen containerd-2.1 running
}

test_operator() {
    local node
    part "crictl, nerdctl and ctr as an operator types them, on both"
    for node in cp1 w1; do
        contains "crictl info on $node" "$(on "$node" 'crictl info')" RuntimeReady
        contains "crictl pods on $node" "$(on "$node" 'crictl pods')" kube-flannel
        contains "crictl images on $node" "$(on "$node" 'crictl images')" registry.k8s.io/pause
        contains "crictl ps --name on $node" "$(on "$node" "crictl ps --name kube-proxy")" kube-proxy
        contains "crictl logs on $node" "$(on "$node" "crictl logs --tail 5 \$(crictl ps -q --name kube-proxy)")" "."
        contains "pinned, as the kubelet sees it, on $node" "$(on "$node" "crictl images -o json")" "\"pinned\": true"
        contains "nerdctl ps on $node" "$(on "$node" 'nerdctl ps')" kube-proxy
        contains "nerdctl images on $node" "$(on "$node" 'nerdctl images')" registry.k8s.io/pause
        contains "nerdctl info on $node" "$(on "$node" 'nerdctl info')" systemd overlayfs
    done
    seen crictl running
    seen nerdctl running
}

test_registry() {
    local node file
    part "a pod on each node from the site's registry; crictl and nerdctl pull from it too"
    pod_on hello-cp1 cp1
    pod_on hello-w1 w1
    soon 90 runs hello-cp1 || fail "hello-cp1: $(kubectl describe pod hello-cp1 | tail -n 15)"
    soon 90 runs hello-w1 || fail "hello-w1: $(kubectl describe pod hello-w1 | tail -n 15)"
    for node in cp1 w1; do
        on "$node" "nerdctl -n operator pull -q $IMAGE" >"$WORK/out" 2>&1 || fail "nerdctl pull on $node: $(cat "$WORK/out")"
        on "$node" "crictl pull $IMAGE" >"$WORK/out" 2>&1 || fail "crictl pull on $node: $(cat "$WORK/out")"
        ! on "$node" "crictl pull 10.77.0.1:5444/apps/hello:1" >/dev/null 2>&1 || fail "a registry that nobody named answers"
    done
    part "and from one that wants tokens"
    for node in cp1 w1; do
        pod_on "token-$node" "$node" "$TOKEN_IMAGE"
        soon 90 runs "token-$node" || fail "token-$node: $(kubectl describe pod "token-$node" | tail -n 15)"
    done
    seen registry-token running
    part "the password: in files of root alone, nowhere else"
    for node in cp1 w1; do
        for file in /var/lib/kubelet/config.json "/etc/containerd/certs.d/$REGISTRY_HOST/hosts.toml"; do
            expect "mode of $file on $node" "600 root" "$(on "$node" "stat -c '%a %U' $file")"
        done
        contains "the proxy's exceptions" "$(on "$node" 'systemctl show containerd -p Environment')" HTTPS_PROXY=http://10.77.0.250:3128 \
            "NO_PROXY=localhost,127.0.0.1,::1,10.77.0.11,cp1,10.77.0.12,w1,$CLUSTER.kpack.internal,10.233.64.0/18,10.233.0.0/18,.svc,.cluster.local,10.77.0.1"
        ! on "$node" "journalctl --no-pager | grep -F -e '$PASSWORD' -e '$(printf '%s:%s' "$USER_NAME" "$PASSWORD" | base64 -w0)'" || fail "the password is in the journal of $node"
    done
    ! grep -rF -e "$PASSWORD" -e "$(printf '%s:%s' "$USER_NAME" "$PASSWORD" | base64 -w0)" "$WORK/$CLUSTER.state" || fail "the password is in the state folder"
    seen registry-basic running
    seen proxy running
}

test_restart() {
    local node before
    part "a restart of the runtime: containers go on, what the cluster needs is pinned"
    for node in cp1 w1; do
        before=$(containers_of "$node")
        on "$node" 'systemctl restart containerd'
        expect "containers of $node" "$before" "$(containers_of "$node")"
        expect "unpinned images of the cluster on $node" "" "$(on "$node" 'ctr -n k8s.io images ls | grep -E "^(registry.k8s.io|docker.io/flannel)/[^@ ]+ " | grep -v pinned=pinned | cut -d" " -f1')"
    done
    soon 60 no_unready_pods || fail "$(unready_pods)"
}

test_change() {
    part "another runtime on w1: apply refuses it, plan shows it, kinstall runtime does it, every SSH connection being cut amid it"
    write_inventory containerd-1.7
    refused 1 k
    contains "apply" "$OUTPUT" "w1: another runtime: containerd 2.1" "kinstall runtime"
    good k_verb plan
    contains "plan" "$(cat "$WORK/out")" "by kinstall runtime only"
    good k_verb runtime --plan
    contains "runtime --plan" "$(cat "$WORK/out")" "all its pods are made anew" "nothing was changed"
    contains "w1 as before" "$(runtime_of w1)" containerd://2.1
    cut_amid 10 runtime --bundle "$BUNDLE" -i "$WORK/hosts.yaml" --force-drain
    tail -n 1 "$RUN_OUT" | sed 's/^/     /'
    contains "w1" "$(runtime_of w1)" containerd://1.7
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    expect "taking pods again" "" "$(kubectl get node w1 -o jsonpath='{.spec.unschedulable}')"
    pod_on again-w1 w1
    soon 90 runs again-w1 || fail "again-w1: $(kubectl describe pod again-w1 | tail -n 15)"
    good k_verb runtime --plan
    contains "then" "$(cat "$WORK/out")" "every node has the runtime"
    seen runtime-change running
}

# kinstall runtime, killed as soon as the command succeeds: killed_when DESCRIPTION COMMAND…
killed_when() {
    local what=$1 deadline=$((SECONDS + 300)) pid
    shift
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" runtime --bundle "$WORK/k8s.tar.zst" -i "$WORK/hosts.yaml" --force-drain
    ) </dev/null >"$WORK/killed" 2>&1 &
    pid=$!
    until "$@" 2>/dev/null; do
        kill -0 "$pid" 2>/dev/null || fail "the run ended before $what: $(cat "$WORK/killed")"
        ((SECONDS < deadline)) || fail "not within 300 s: $what: $(cat "$WORK/killed")"
        sleep 0.05
    done
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}

program_is() { [[ $(on cp1 '/usr/local/bin/containerd --version') == *" v$1"* ]]; }
no_pods() { [[ -z $(on cp1 'ctr -n k8s.io tasks ls -q') ]]; }
etcd_of() { on cp1 'crictl ps -q --name etcd'; }

test_control_plane() {
    local etcd
    part "the control plane's runtime upward, killed when the new program was placed; its containers go on"
    etcd=$(etcd_of)
    write_inventory containerd-2.1 containerd-2.1
    killed_when "the new program was there" program_is 2.1
    good k_verb runtime --force-drain
    tail -n 1 "$WORK/out" | sed 's/^/     /'
    contains "cp1" "$(runtime_of cp1)" containerd://2.1
    expect "etcd's container" "$etcd" "$(etcd_of)"
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    expect "taking pods again" "" "$(kubectl get node cp1 -o jsonpath='{.spec.unschedulable}')"
    part "and downward, killed when all its pods were ended: nobody answers for the cluster, the same command goes on"
    write_inventory containerd-2.1 containerd-1.7
    killed_when "its pods were gone" no_pods
    good k_verb runtime --force-drain
    tail -n 1 "$WORK/out" | sed 's/^/     /'
    contains "cp1" "$(runtime_of cp1)" containerd://1.7
    expect "nodes" "cp1=True w1=True" "$(ready_nodes)"
    expect "taking pods again" "" "$(kubectl get node cp1 -o jsonpath='{.spec.unschedulable}')"
    soon 60 no_unready_pods || fail "$(unready_pods)"
    good k_verb runtime --plan
    contains "then" "$(cat "$WORK/out")" "every node has the runtime"
    seen runtime-killed running
}

# Multus on Flannel: the final verification has tried it on one node, here it is tried on both.
test_multus() {
    local node
    part "Multus on Flannel, with either containerd: a second interface"
    expect "report" true "$(jq -r '.checks[] | select(.name == "second interface").ok' "$WORK/$CLUSTER.state/report.json")"
    kubectl apply -f - >/dev/null <<'END'
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: second}
spec: {config: '{"cniVersion": "0.3.1", "type": "macvlan", "master": "eth0", "mode": "bridge", "ipam": {"type": "host-local", "subnet": "192.168.77.0/24"}}'}
END
    for node in cp1 w1; do
        kubectl run "two-$node" --image="$IMAGE" --annotations=k8s.v1.cni.cncf.io/networks=second \
            --overrides="{\"spec\":{\"nodeName\":\"$node\",\"automountServiceAccountToken\":false}}" >/dev/null
        soon 90 runs "two-$node" || fail "two-$node: $(kubectl describe pod "two-$node" | tail -n 15)"
        contains "interfaces on $node" "$(kubectl get pod "two-$node" -o json | jq -r '.metadata.annotations["k8s.v1.cni.cncf.io/network-status"]')" \
            cbr0 net1 192.168.77.
    done
    kubectl delete pod two-cp1 two-w1 --now >/dev/null
    seen multus-flannel running
}

e2e_begin runtimes
part "a bundle with two runtimes"
LONG=${1:-}
shared_bundle # its key
export UPSTREAM_WITH=runtimes${LONG:+,multus}
upstream_up
REGISTRY_PROGRAM=$REGISTRY
HELLO_LAYOUT=$(printf '%s\n' "$UPSTREAM_IMAGES_DIR"/hello-* | sed -n 1p)
"$UPSTREAM" release-file "$WORK/lab.yaml"
kpack create --k8s v1.30 --release "$WORK/lab.yaml" --mirrors "$E2E/mirrors.yaml" --output "$WORK/k8s.tar.zst" --key "$KEY" \
    --runtime containerd-1.7,containerd-2.1 ${LONG:+--with multus} >"$WORK/out" 2>&1 || fail "$(tail "$WORK/out")"
contains "inspect" "$(kpack inspect --key "$PUB" "$WORK/k8s.tar.zst")" "containerd-1.7" "containerd-2.1"
BUNDLE=$WORK/k8s.tar.zst
"$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
kinstall trust add "$PUB"
start_registry
write_inventory containerd-2.1
start_token_registry
test_install
if [[ $LONG == long ]]; then
    test_multus
    test_control_plane
else
    test_operator
    test_registry
    test_restart
    test_change
fi
part "nothing left the site"
expect "packets" 0 "$("$SITE" egress)"
part end
