# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the cli tests share: a folder of their own, runs with exit code and golden output, and a small
# upstream on loopback (nginx with files and one or two images).
set -euo pipefail
export LC_ALL=C TZ=UTC NO_COLOR=1
umask 022

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
KPACK=$(readlink -f "${1:?usage: $0 KPACK}")
NAME=$(basename "$0" .sh)
WORK=$(mktemp -d "/tmp/kpack-cli.XXXXXX")
SERVER=
FAILED=0
export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$WORK/cache
unset DOCKER_CONFIG http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
mkdir -p "$HOME"
chmod 755 "$WORK" # the web server may have another user
cd "$WORK"

finish() {
    local code=$?
    [[ -z $SERVER ]] || kill "$SERVER" 2>/dev/null || true
    if ((FAILED || code)); then
        echo "$NAME: failed; see $WORK" >&2
        exit 1
    fi
    cd / && rm -rf "$WORK"
}
trap finish EXIT

fail() {
    echo "FAIL $NAME: $*" >&2
    FAILED=1
}

# run CODE ARGS…: runs kpack; its stdout and stderr are in $WORK/out and $WORK/err.
run() {
    local wanted=$1 code=0
    shift
    "$KPACK" "$@" >"$WORK/out" 2>"$WORK/err" || code=$?
    if ((code != wanted)); then
        fail "kpack $*: exit code $code, not $wanted"
        sed 's/^/    /' "$WORK/out" "$WORK/err" >&2
    fi
}

# has FILE TEXT: the text stands in out or err.
has() {
    grep -qF -- "$2" "$WORK/$1" && return 0
    fail "'$2' is not in $1:"
    sed 's/^/    /' "$WORK/$1" >&2
}

same() {
    cmp "$1" "$2" || fail "$1 and $2 differ"
}

# What differs from run to run and machine to machine.
normal() {
    sed -E -e "s#$WORK#WORK#g" -e "s#$(dirname "$(dirname "$KPACK")")#BASE#g" \
        -e 's/[0-9a-f]{64}/DIGEST/g' -e 's/([0-9a-f]{4} ){15}[0-9a-f]{4}/FINGERPRINT/' \
        -e 's/sha256:[0-9a-f]{12}/sha256:SHORT/g' -e 's/key [0-9a-f]{4}…[0-9a-f]{4}/key SHORT/g' \
        -e 's/20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]+Z/TIME/g' -e 's/serial( +)[0-9]+/serial\1SERIAL/' \
        -e 's/[0-9.]+ [kMG]B\/s|[0-9.]+ bytes\/s/RATE/g' -e 's/[0-9.]+ s$/SECONDS/; s/in [0-9.]+ s /in SECONDS /' \
        -e "s/$(hostname -s)-20[0-9]{2}/NEWKEY/g" -e '/done   sha256 ok$/d' \
        -e 's/127\.0\.0\.1:[0-9]+/SERVER/g' -e 's/[0-9.]+ (kB|bytes)( |$)/SIZE\2/g' -e 's/ +SIZE/ SIZE/g'
}

# golden WHAT: out and err, made normal, are what golden/NAME.WHAT says.
golden() {
    local file="$HERE/golden/${NAME#test_}.$1"
    { normal <"$WORK/out"; echo '--- stderr'; normal <"$WORK/err"; } >"$WORK/seen"
    if [[ ${UPDATE:-} == 1 ]]; then
        cp "$WORK/seen" "$file"
    elif ! diff -u "$file" "$WORK/seen" >&2; then
        fail "$1: output differs from $file"
    fi
}

sum() {
    sha256sum "$1" | cut -d' ' -f1
}

# A file that begins like a static program of that machine (62: x86-64, 183: AArch64), and is nothing else.
fake_program() {
    # shellcheck disable=SC2059 # the machine is a byte of the format
    printf '\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x'"$(printf %02x "$2")"'\0\x01\0\0\0' >"$1"
    head -c 40 /dev/zero >>"$1"
    printf 'program %s' "$1" >>"$1"
    chmod 755 "$1"
}

make_libexec() {
    mkdir -p libexec/amd64 libexec/arm64
    local program
    for program in kinstall knode kregistry; do
        fake_program "libexec/amd64/$program" 62
        fake_program "libexec/arm64/$program" 183
    done
}

# put_blob FILE REPO: into the registry; prints "sha256:…".
put_blob() {
    local digest
    digest=$(sum "$1")
    mkdir -p "www/v2/$2/blobs"
    cp "$1" "www/v2/$2/blobs/sha256:$digest"
    printf 'sha256:%s' "$digest"
}

put_manifest() { # FILE REPO TYPE [TAG]
    local digest
    digest=sha256:$(sum "$1")
    mkdir -p "www/v2/$2/manifests"
    cp "$1" "www/v2/$2/manifests/$digest"
    echo "\"/v2/$2/manifests/$digest\" $3;" >>types.map
    if [[ -n ${4:-} ]]; then
        cp "$1" "www/v2/$2/manifests/$4"
        echo "\"/v2/$2/manifests/$4\" $3;" >>types.map
    fi
    printf '%s' "$digest"
}

OCI=application/vnd.oci.image

# child REPO ARCH: one image manifest; prints its digest.
child() {
    mkdir -p layer && echo "$1 $2" >layer/hello
    tar -C layer --owner=0 --group=0 --mtime=@0 -cf layer.tar hello
    gzip -nc layer.tar >layer.tgz
    local layer config
    printf '{"architecture":"%s","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$2" "$(sum layer.tar)" >config.json
    layer=$(put_blob layer.tgz "$1")
    config=$(put_blob config.json "$1")
    printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json","digest":"%s","size":%d},"layers":[{"mediaType":"%s.layer.v1.tar+gzip","digest":"%s","size":%d}]}' \
        $OCI $OCI "$config" "$(stat -c %s config.json)" $OCI "$layer" "$(stat -c %s layer.tgz)" >manifest.json
    put_manifest manifest.json "$1" "$OCI.manifest.v1+json"
}

# make_image REPO TAG: an index with amd64, arm64 and an attestation child.
make_image() {
    local arch list=() digest
    for arch in amd64 arm64; do
        digest=$(child "$1" "$arch")
        list+=("{\"mediaType\":\"$OCI.manifest.v1+json\",\"digest\":\"$digest\",\"size\":$(stat -c %s manifest.json),\"platform\":{\"architecture\":\"$arch\",\"os\":\"linux\"}}")
    done
    list+=("{\"mediaType\":\"$OCI.manifest.v1+json\",\"digest\":\"sha256:$(printf x | sha256sum | cut -d' ' -f1)\",\"size\":7,\"platform\":{\"architecture\":\"unknown\",\"os\":\"unknown\"},\"annotations\":{\"vnd.docker.reference.type\":\"attestation-manifest\"}}")
    (IFS=,; printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[%s]}' $OCI "${list[*]}") >index.json
    put_manifest index.json "$1" "$OCI.index.v1+json" "$2"
}

write_nginx() { # PORT
    cat >nginx.conf <<END
pid $WORK/nginx.pid;
daemon off;
error_log $WORK/nginx.log;
worker_processes 1;
events { worker_connections 256; }
http {
    access_log $WORK/access.log;
    client_body_temp_path $WORK/t1; proxy_temp_path $WORK/t2; fastcgi_temp_path $WORK/t3;
    uwsgi_temp_path $WORK/t4; scgi_temp_path $WORK/t5;
    types { }
    default_type application/octet-stream;
    map_hash_bucket_size 256;
    map \$uri \$kind { include $WORK/types.map; }
    server {
        listen 127.0.0.1:$1;
        root $WORK/www;
        location = /v2/ { return 200 "{}"; }
        location ~ ^/v2/.*/manifests/ { default_type ""; add_header Content-Type \$kind; }
        location /slow/ { alias $WORK/www/dl/; limit_rate 400k; }
    }
}
END
    # an error of one port that is taken is no reason to stop
}

serve() {
    local nginx try
    nginx=$(command -v nginx || echo /usr/sbin/nginx)
    [[ -x $nginx ]] || { echo "nginx is not installed" >&2; exit 77; }
    for try in {1..20}; do
        PORT=$((20000 + (RANDOM + try * 977) % 20000))
        write_nginx $PORT
        "$nginx" -p "$WORK" -c "$WORK/nginx.conf" >/dev/null 2>&1 &
        SERVER=$!
        for _ in {1..50}; do
            curl -fsS -o /dev/null "http://127.0.0.1:$PORT/v2/" 2>/dev/null && return 0
            kill -0 $SERVER 2>/dev/null || break
            sleep 0.1
        done
    done
    echo "nginx does not start" >&2
    cat nginx.log >&2
    exit 1
}

K8S_IMAGES=(kube-apiserver:v1.30.2 kube-controller-manager:v1.30.2 kube-scheduler:v1.30.2 kube-proxy:v1.30.2
    etcd:3.5.12-0 coredns/coredns:v1.11.1 pause:3.9)

write_release() { # SHA256 of tool, of archive; EXPECTED digest of etcd
    cat <<END
kind: kpack.release/v1
minor: "1.30"
default: "1.30.2"
releases:
  "1.30.2":
    kubeadm_api: v1beta3
    containerd_config: 2
    programs: [conntrack, ip, socat]
    files:
      - name: kubelet
        version: "1.30.2"
        url: https://dl.k8s.io/v{version}/kubelet
        sha256: {amd64: $1, arm64: $1}
        license: Apache-2.0
        roles: [control-plane, worker]
        install: [{path: /usr/local/bin/kubelet, mode: "0755"}]
      - name: tools
        version: "2.0"
        url: https://dl.k8s.io/tools-{version}.tgz
        sha256: {amd64: $2, arm64: $2}
        roles: [control-plane]
        install:
          - {member: "tools-{version}/one", path: /opt/tools/one}
          - {member: "tools-{version}/two", path: /opt/tools/two, mode: "0644"}
    images:
END
    local ref name
    for ref in "${K8S_IMAGES[@]}"; do
        name=${ref%%:*}
        echo "      - {name: ${name##*/}, ref: \"registry.k8s.io/$ref\", roles: [control-plane, worker]$( [[ $name != etcd ]] || echo ", expected: \"$3\"" )}"
    done
    cat <<END
    networks:
      none: {version: "0"}
      flannel:
        version: "0.22.0"
        images: [{name: flannel, ref: "docker.io/flannel/flannel:v0.22.0", roles: [control-plane, worker]}]
        manifests:
          - name: kube-flannel
            url: https://dl.k8s.io/flannel-{version}.yml
            replace: [{find: "10.244.0.0/16", with: pods}]
            wait: [{kind: daemonset, namespace: kube-flannel, name: kube-flannel-ds}]
    addons:
      store:
        version: "0.3"
        images:
          - {name: store, ref: "quay.io/x/store:v0.3", roles: [worker]}
          - {name: store-helper, ref: "docker.io/library/busybox:latest", roles: [worker]}
        manifests:
          - name: store
            url: https://dl.k8s.io/store-{version}.yml
            wait: [{kind: deployment, namespace: store, name: store}]
            checks: [{kind: volume, subject: store, what: a volume is bound and written}]
END
}

# A whole upstream: www/dl with files, images, release.yaml, mirrors.yaml, libexec.
make_upstream() {
    local ref etcd
    mkdir -p www/dl/v1.30.2 tools-2.0
    : >types.map
    head -c 1500000 /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null >www/dl/v1.30.2/kubelet
    echo one >tools-2.0/one
    seq 1 20000 >tools-2.0/two
    tar --owner=0 --group=0 --mtime=@0 -czf www/dl/tools-2.0.tgz tools-2.0
    cat >www/dl/flannel-0.22.0.yml <<'END'
apiVersion: v1
kind: ConfigMap
data:
  net-conf.json: |
    {"Network": "10.244.0.0/16"}
---
apiVersion: apps/v1
kind: DaemonSet
spec:
  template:
    spec:
      containers:
      - name: flannel
        image: docker.io/flannel/flannel:v0.22.0
END
    cat >www/dl/store-0.3.yml <<'END'
apiVersion: apps/v1
kind: Deployment
metadata: {name: store, namespace: store}
spec:
  template:
    spec:
      containers:
      - image: quay.io/x/store:v0.3
---
apiVersion: v1
kind: ConfigMap
metadata: {name: store, namespace: store}
data:
  pod.yaml: |-
    apiVersion: v1
    kind: Pod
    spec:
      containers:
      - image: busybox
END
    for ref in "${K8S_IMAGES[@]}"; do
        make_image "registry.k8s.io/${ref%%:*}" "${ref##*:}" >digest
        [[ $ref != etcd:* ]] || etcd=$(<digest)
    done
    make_image docker.io/flannel/flannel v0.22.0 >/dev/null
    make_image quay.io/x/extra 1 >/dev/null
    make_image quay.io/x/store v0.3 >/dev/null
    make_image docker.io/library/busybox latest >/dev/null
    write_release "$(sum www/dl/v1.30.2/kubelet)" "$(sum www/dl/tools-2.0.tgz)" "$etcd" >release.yaml
    serve
    cat >mirrors.yaml <<END
kind: kpack.mirrors/v1
mirrors:
  - {from: "https://dl.k8s.io/", to: "http://127.0.0.1:$PORT/dl/"}
  - {from: "registry.k8s.io", to: "127.0.0.1:$PORT/registry.k8s.io", plain_http: true}
  - {from: "docker.io", to: "127.0.0.1:$PORT/docker.io", plain_http: true}
  - {from: "quay.io", to: "127.0.0.1:$PORT/quay.io", plain_http: true}
END
    make_libexec
}

# create CODE ARGS…: kpack create against that upstream.
create() {
    local code=$1
    shift
    run "$code" create --mirrors mirrors.yaml --libexec libexec "$@"
}
