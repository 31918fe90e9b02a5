#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Certificates made anew: three control planes and a worker; a renewal that is killed midway goes on;
# kubelets too; a cluster from before kubelets had serving certificates; certificates that ended already, of every member of etcd and of a worker's kubelet. Needs
# root. Run: tests/e2e/certs.sh [killed|kubelets|ended]
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"
# shellcheck source=tests/lib/runs.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/runs.sh"

CLUSTER=papers
CONTROL=(cp1 cp2 cp3)
NODES=(cp1 cp2 cp3 w1)
READY="cp1=True cp2=True cp3=True w1=True"

k() { kinstall "$@" -i "$WORK/hosts.yaml"; }

# Runs kinstall and shows what it said where it fails.
good() {
    "$@" >"$WORK/out" 2>&1 || fail "${*:0:6}: $(tail -n 40 "$WORK/out")"
}

ready_as() { [[ $(ready_nodes 2>/dev/null) == "$1" ]] && no_unready_pods 2>/dev/null; }

# "FILE DIGEST" of every certificate that ends by itself, CAs aside, and of those inside kubeconfigs.
papers() {
    "$SITE" run "$1" -- sh -c '
        for f in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /etc/kpack/mirror/tls.pem; do
            case $f in *ca.crt|*\**) continue;; esac
            [ ! -e $f ] || echo "$f $(openssl x509 -in $f -noout -serial)"
        done
        for f in admin super-admin controller-manager scheduler; do
            f=/etc/kubernetes/$f.conf
            [ ! -e $f ] || echo "$f $(sed -n "s/.*client-certificate-data: //p" $f | base64 -d | openssl x509 -noout -serial)"
        done' | sort
}

kubelet_paper() { "$SITE" run "$1" -- openssl x509 -in /var/lib/kubelet/pki/kubelet-client-current.pem -noout -serial; }

serving_paper() { "$SITE" run "$1" -- openssl x509 -in /var/lib/kubelet/pki/kubelet-server-current.pem -noout -serial; }

# What the API server of a control plane shows.
served() { "$SITE" exec -- sh -c "openssl s_client -connect $1:6443 </dev/null 2>/dev/null | openssl x509 -noout -serial"; }

renew_killed_at() { # PATTERN OF THE JOURNAL
    local deadline=$((SECONDS + 300))
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" certs renew -i "$WORK/hosts.yaml"
    ) </dev/null >"$WORK/killed" 2>&1 &
    local pid=$!
    until grep -q "$1" "$WORK/$CLUSTER.state/journal.jsonl"; do
        kill -0 "$pid" 2>/dev/null || fail "the renewal ended before \"$1\": $(cat "$WORK/killed")"
        ((SECONDS < deadline)) || fail "no \"$1\": $(cat "$WORK/killed")"
        sleep 0.05
    done
    sleep 2 # into it
    kill -KILL "$pid"
    wait "$pid" 2>/dev/null || true
}

test_plan() {
    part "plan: what would be done; nothing is"
    local node
    for node in "${NODES[@]}"; do papers "$node" >"$WORK/$node.before"; done
    good k certs renew --plan
    contains "plan" "$(cat "$WORK/out")" "kubeadm certs renew all" "restart etcd" "issue the mirrors' certificate" "nothing was changed"
    for node in "${NODES[@]}"; do
        expect "certificates of $node" "$(cat "$WORK/$node.before")" "$(papers "$node")"
    done
    ! test -e "$WORK/$CLUSTER.state/certs-renew.json" || fail "a plan began a renewal"
}

test_killed() {
    part "a renewal killed while cp2 restarts, then the same command: each certificate is another"
    local node left before_admin after_admin
    declare -A shown
    for node in 1 2 3; do shown[$node]=$(served 10.77.0.1$node); done
    before_admin=$(sha256_of "$WORK/$CLUSTER.state/kubeconfig")
    kubectl create configmap kept --from-literal=a=b >/dev/null
    renew_killed_at '"event":"begin","node":"cp2","step":"certs-restart"'
    papers cp1 >"$WORK/cp1.half"
    good k certs renew
    contains "second run" "$(cat "$WORK/out")" "going on with the renewal"
    sed 's/^/     /' "$WORK/out"
    expect "cp1, which was done" "$(cat "$WORK/cp1.half")" "$(papers cp1)"
    for node in "${CONTROL[@]}"; do
        papers "$node" >"$WORK/$node.after"
        expect "files of $node" "$(cut -d' ' -f1 "$WORK/$node.before")" "$(cut -d' ' -f1 "$WORK/$node.after")"
        left=$(comm -12 "$WORK/$node.before" "$WORK/$node.after")
        expect "certificates of before on $node" "" "$left"
    done
    for node in 1 2 3; do
        [[ $(served 10.77.0.1$node) != "${shown[$node]}" ]] || fail "10.77.0.1$node serves the old certificate"
        expect "10.77.0.1$node serves what is on its disk" "$(grep apiserver.crt "$WORK/cp$node.after" | cut -d' ' -f2)" "$(served 10.77.0.1$node)"
    done
    after_admin=$(sha256_of "$WORK/$CLUSTER.state/kubeconfig")
    [[ $before_admin != "$after_admin" ]] || fail "the admin's kubeconfig is the old one"
    kubectl get configmap kept >/dev/null || fail "the object of before is gone"
    ready_as "$READY" || fail "not ready: $(ready_nodes) $(unready_pods)"
    ! test -e "$WORK/$CLUSTER.state/certs-renew.json" || fail "the renewal still counts as begun"
    good k certs check
    good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    contains "apply behind it" "$(cat "$WORK/out")" "nothing had to be changed"
    seen certs-renew running
}

test_kubelets() {
    part "--days 366: kubelets too, and their keys stay where they are made; every SSH connection is cut amid it"
    local node tokens
    declare -A before serving
    tokens=$(kubectl get secret -n kube-system -o name | grep bootstrap-token || true) # of kubeadm's upload-certs
    for node in "${NODES[@]}"; do before[$node]=$(kubelet_paper "$node") serving[$node]=$(serving_paper "$node"); done
    cut_amid "event=begin step=certs-restart node=cp2" certs renew --days 366 -i "$WORK/hosts.yaml"
    for node in "${NODES[@]}"; do
        [[ $(kubelet_paper "$node") != "${before[$node]}" ]] || fail "the kubelet of $node has its old certificate"
        [[ $(serving_paper "$node") != "${serving[$node]}" ]] || fail "the kubelet of $node serves with its old certificate"
        kubectl get --raw "/api/v1/nodes/$node/proxy/healthz" >/dev/null || fail "the API server does not take what the kubelet of $node serves with"
        ! "$SITE" run "$node" -- sh -c 'ls /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/*.kpack-before /etc/kubernetes/kpack-*.yaml 2>/dev/null' || fail "something is left on $node"
        contains "kubelet.conf of $node" "$("$SITE" run "$node" -- cat /etc/kubernetes/kubelet.conf)" kubelet-client-current.pem
    done
    expect "tokens" "$tokens" "$(kubectl get secret -n kube-system -o name | grep bootstrap-token || true)"
    ready_as "$READY" || fail "not ready: $(ready_nodes) $(unready_pods)"
}

# The cluster as a kinstall without serving certificates would have left it.
make_older() {
    local node
    for node in cm/kubeadm-config:kubelet-certificate-authority cm/kubelet-config:serverTLSBootstrap; do
        kubectl get -n kube-system "${node%:*}" -o yaml | sed "/^ *${node#*:}: /d; /resourceVersion/d; /uid:/d" | kubectl replace -f - >/dev/null
    done
    kubectl delete clusterrole,clusterrolebinding kpack:approver >/dev/null
    for node in "${NODES[@]}"; do
        "$SITE" run "$node" -- sh -euc '
            sed -i "/^serverTLSBootstrap: /d" /var/lib/kubelet/config.yaml /etc/kubernetes/kpack/settings-kubelet.yaml
            rm -f /var/lib/kubelet/pki/kubelet-server-*.pem
            if [ -e /etc/kubernetes/kpack-approver.conf ]; then
                systemctl disable -q --now kpack-approve.timer
                rm -r /etc/systemd/system/kpack-approve.* /etc/kubernetes/kpack-approver.conf /etc/kpack/nodes.json /run/kpack/approve
                systemctl daemon-reload
                sed -i "/kubelet-certificate-authority/d" /etc/kubernetes/kpack/settings-control-plane.yaml /etc/kubernetes/manifests/kube-apiserver.yaml
            fi
            systemctl restart kubelet'
    done
}

shows_own() { [[ $("$SITE" exec -- sh -c "openssl s_client -connect $1:10250 </dev/null 2>/dev/null | openssl x509 -noout -issuer") == *"$2-ca@"* ]]; }

# The arguments of the API server that runs there.
api_arguments() { "$SITE" run "$1" -- sh -c 'tr "\0" " " </proc/$(pidof -s kube-apiserver)/cmdline' 2>/dev/null; }

no_authority() { [[ $(api_arguments "$1") == *kube-apiserver* && $(api_arguments "$1") != *kubelet-certificate-authority* ]]; }

test_older() {
    part "a cluster from before serving certificates: the next apply gives each kubelet one, and API servers ask for it"
    local node
    make_older
    for node in "${CONTROL[@]}"; do soon 90 no_authority "$node" || fail "the API server of $node is not one of before"; done
    for node in 1 2 3; do soon 60 shows_own 10.77.0.1$node cp$node || fail "the kubelet of cp$node does not serve with its own certificate"; done
    soon 120 ready_as "$READY" || fail "not ready: $(ready_nodes) $(unready_pods)"
    good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    for node in "${NODES[@]}"; do
        serving_paper "$node" >/dev/null || fail "the kubelet of $node has no serving certificate"
        kubectl get --raw "/api/v1/nodes/$node/proxy/healthz" >/dev/null || fail "the API server does not take what the kubelet of $node serves with"
    done
    for node in "${CONTROL[@]}"; do
        contains "arguments on $node" "$(api_arguments "$node")" --kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt
        "$SITE" run "$node" -- systemctl is-active --quiet kpack-approve.timer || fail "nobody approves on $node"
    done
    good k certs check
    good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    contains "once more" "$(cat "$WORK/out")" "nothing had to be changed"
    seen serving-taken-up running
}

# Names that come later: each API server's certificate has them, and no request is lost meanwhile.
test_names() {
    part "cert_sans grows: every API server shows the new names, requests go on"
    local node failed
    "$SITE" exec -- bash -c 'while :; do curl -s -m 3 --cacert "$1" https://10.77.0.11:6443/readyz || printf failed; echo; sleep 0.1; done' bash "$WORK/ca.crt" >"$WORK/asked" 2>&1 &
    local asking=$!
    sed -i 's/^kubernetes: {/kubernetes: {cert_sans: [api.site.example, 10.77.0.99], /' "$WORK/hosts.yaml"
    good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    kill $asking
    wait $asking 2>/dev/null || true
    for node in 1 2 3; do
        contains "names of 10.77.0.1$node" "$("$SITE" exec -- sh -c "openssl s_client -connect 10.77.0.1$node:6443 </dev/null 2>/dev/null | openssl x509 -noout -ext subjectAltName")" \
            DNS:api.site.example "IP Address:10.77.0.99" DNS:cp$node "DNS:$CLUSTER.kpack.internal"
    done
    failed=$(grep -cv '^ok$' "$WORK/asked" || true)
    say "$(wc -l <"$WORK/asked") requests, $failed failed"
    expect "failed requests" 0 "$failed"
    good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
    contains "once more" "$(cat "$WORK/out")" "nothing had to be changed"
}

test_idle() {
    part "--days 30: none is due, nothing restarts"
    local node
    for node in "${CONTROL[@]}"; do papers "$node" >"$WORK/$node.before"; done
    "$SITE" run cp1 -- pidof kube-apiserver >"$WORK/process"
    good k certs renew --days 30
    contains "none" "$(cat "$WORK/out")" "none of them was due"
    for node in "${CONTROL[@]}"; do expect "certificates of $node" "$(cat "$WORK/$node.before")" "$(papers "$node")"; done
    expect "the API server's process" "$(cat "$WORK/process")" "$("$SITE" run cp1 -- pidof kube-apiserver)"
}

# The same certificate for the same key, which ended yesterday: made on cp1 by the CA given (its files beside CRT).
expire() { # NODE CRT CA
    local node=$1 crt=$2 ca=$3
    "$SITE" run "$node" -- sh -euc '
        crt=$1 ca=$2 d=$(mktemp -d); cd $d; touch index; echo 0123456789 >serial
        printf "[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\ncopy_extensions=copyall\n[p]\norganizationName=optional\ncommonName=supplied\n" >conf
        case $crt in *.pem) key=$crt;; *) key=${crt%.crt}.key;; esac
        openssl x509 -x509toreq -in $crt -signkey $key -copy_extensions copyall -out req 2>/dev/null
        openssl ca -config conf -batch -notext -preserveDN -in req -cert $ca.crt -keyfile $ca.key -startdate 20200101000000Z -enddate 20210101000000Z -out new 2>log || { cat log >&2; exit 1; }
        [ $crt = $key ] && { openssl pkey -in $key >>new; }
        cat new >$crt; cd /; rm -rf $d' sh "$crt" "$ca" || fail "cannot make an ended $crt on $node"
}

test_ended() {
    part "every peer certificate of etcd has ended, and a worker's kubelet: it stands still"
    local node f
    kubectl create configmap kept-too --from-literal=a=b >/dev/null
    "$SITE" run cp1 -- sh -c 'cd /etc/kubernetes/pki && tar cf - ca.crt ca.key' | "$SITE" run w1 -- sh -c 'mkdir -m 700 /root/ca && tar xf - -C /root/ca'
    expire w1 "$("$SITE" run w1 -- readlink -f /var/lib/kubelet/pki/kubelet-client-current.pem)" /root/ca/ca
    "$SITE" run w1 -- sh -c 'rm -r /root/ca; systemctl restart kubelet || true'
    for node in "${CONTROL[@]}"; do
        for f in server peer healthcheck-client; do expire "$node" /etc/kubernetes/pki/etcd/$f.crt /etc/kubernetes/pki/etcd/ca; done
    done
    for node in "${CONTROL[@]}"; do "$SITE" run "$node" -- sh -c 'kill $(pidof etcd)'; done
    sleep 8
    ! kubectl get nodes >/dev/null 2>&1 || fail "the API answers although no member of etcd can speak to another"
    refused 1 k certs check
    contains "check" "$OUTPUT" 2021-01-01T00:00:00Z "end within 30 days"
    part "renew: etcd is a quorum again, the worker Ready, the data are there"
    good k certs renew
    sed 's/^/     /' "$WORK/out"
    soon 60 ready_as "$READY" || fail "not ready: $(ready_nodes) $(unready_pods)"
    kubectl get configmap kept-too >/dev/null || fail "the object of before is gone"
    good k certs check
    seen certs-ended running
}

e2e_begin certs
part "a bundle"
shared_bundle
part "three control planes, a worker"
"$SITE" up --node cp1=10.77.0.11,role=control-plane --node cp2=10.77.0.12,role=control-plane \
    --node cp3=10.77.0.13,role=control-plane --node w1=10.77.0.14,role=worker
kinstall trust add "$PUB"
"$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
part "install"
good kinstall --bundle "$BUNDLE" -i "$WORK/hosts.yaml"
fetch_kubectl
soon 60 ready_as "$READY" || fail "not ready: $(ready_nodes) $(unready_pods)"
"$SITE" run cp1 -- cat /etc/kubernetes/pki/ca.crt >"$WORK/ca.crt"
if [[ ${1:-killed} == killed ]]; then
    test_plan
    test_killed
    test_names
fi
if [[ ${1:-kubelets} == kubelets ]]; then
    test_kubelets
    test_older
fi
if [[ ${1:-ended} == ended ]]; then
    test_idle
    test_ended
fi
part end
