#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# registry.sh KREGISTRY MAKE_BUNDLE CROWD: kregistry driven by clients that are not ours (curl,
# skopeo, crane and oras where they are), and by a crowd of idle and slow connections.
# shellcheck disable=SC2317 # functions are called through check and trap
set -euo pipefail
kregistry=$1 make_bundle=$2 crowd=$3
upstream=${KPACK_LAB_CACHE:-$HOME/.cache/kpack-lab}/upstream
for folder in "$upstream"/components/{crane,oras}-*; do PATH=$PATH:$folder; done
work=$(mktemp -d /tmp/kp-registry-XXXXXX)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
failed=0
ok() { printf 'ok    %s\n' "$1"; }
bad() { printf 'FAIL  %s\n' "$1"; failed=1; }
check() { # NAME COMMAND…: the command succeeds
    local name=$1
    shift
    if "$@" >out 2>&1; then ok "$name"; else bad "$name"; tail -n 5 out; fi
}
same() { # NAME WANTED GOT
    if [[ $2 == "$3" ]]; then ok "$1"; else bad "$1: wanted '$2', got '$3'"; fi
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mirror \
    -addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.crt 2>/dev/null
id=$("$make_bundle" site 3 2Mi)
other_id=$("$make_bundle" other 1 1Mi 7)
bundle=site/test.tar.zst

start() { # LOG ARGUMENTS…: sets pid, https and http (ports)
    local log=$1
    shift
    OPENSSL_CONF=${openssl_conf:-/dev/null} "$kregistry" "$@" >"$log.out" 2>"$log" &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 200); do
        if grep -q 'serving on' "$log"; then break; fi
        if ! kill -0 "$pid" 2>/dev/null; then break; fi
        sleep 0.05
    done
    sleep 0.1
    https=$(sed -n 's,.*https://[^ ]*:\([0-9]*\)$,\1,p' "$log" | sed -n 1p)
    http=$(sed -n 's,.*http://[^ ]*:\([0-9]*\)$,\1,p' "$log" | sed -n 1p)
}
finish() { # SIGTERM and its exit code
    local code=0
    kill -TERM "$pid"
    wait "$pid" || code=$?
    same "ends with 0 on SIGTERM ($1)" 0 "$code"
}

# --- command line -------------------------------------------------------------------------------
refused() { # NAME CODE WORD ARGUMENTS…
    local name=$1 want=$2 word=$3 code=0
    shift 3
    timeout 20 "$kregistry" "$@" >said 2>&1 || code=$?
    same "$name: exit code" "$want" "$code"
    check "$name: says $word" grep -q -e "$word" said
}
refused "no bundle" 2 bundle --plain 127.0.0.1:0
refused "no listener" 2 listen --bundle "$bundle" --id "$id"
refused "plain beyond loopback" 2 loopback --bundle "$bundle" --id "$id" --plain 0.0.0.0:0
refused "TLS without certificate" 2 tls-cert --bundle "$bundle" --id "$id" --listen 127.0.0.1:0
refused "a wrong id" 3 "$bundle" --bundle "$bundle" --id "$other_id" --plain 127.0.0.1:0
refused "nobody trusted" 3 "$bundle" --bundle "$bundle" --key other/test.pub --plain 127.0.0.1:0

# --- with an id, given either way, the folders of trusted keys are not even looked at ----------------
mkdir -p broken/kpack/trusted.d
echo "no key" >broken/kpack/trusted.d/broken.pub
export XDG_CONFIG_HOME=$work/broken
refused "a broken trust folder" 2 broken.pub --bundle "$bundle" --plain 127.0.0.1:0
for form in "$bundle,id=$id" "$bundle --id $id"; do
    # shellcheck disable=SC2086
    start ids --bundle $form --plain 127.0.0.1:0
    same "by id alone: $form" 200 "$(curl -s -o body -w '%{http_code}' "http://127.0.0.1:$http/healthz")"
    finish "by id"
done
unset XDG_CONFIG_HOME

# --- as a service: an openssl.cnf that loads a provider must not matter ---------------------------
printf 'openssl_conf = a\n[a]\nproviders = p\n[p]\nlegacy = l\n[l]\nactivate = 1\n' >openssl.cnf
openssl_conf=$work/openssl.cnf
start main --bundle "$bundle,id=$id" --bundle other/test.tar.zst --key other/test.pub \
    --listen 127.0.0.1:0 --plain 127.0.0.1:0 --tls-cert tls.crt --tls-key tls.key --access-log access
url=https://127.0.0.1:$https
get() { curl -sS --cacert tls.crt "$@"; }
code() { get -o body -D head -w '%{http_code}' "$@"; }
same "ping" '{}' "$(get "$url/v2/")"
digest=$(get -D - -o index.json "$url/v2/img1/manifests/v1?ns=registry.k8s.io" |
    tr -d '\r' | sed -n 's/^Docker-Content-Digest: //p')
same "the index hashes to its digest" "$digest" "sha256:$(sha256sum index.json | cut -d' ' -f1)"
child=$(grep -o 'sha256:[0-9a-f]*' index.json | sed -n 1p)
get -o child.json "$url/v2/img1/manifests/$child"
same "the child hashes to its digest" "$child" "sha256:$(sha256sum child.json | cut -d' ' -f1)"
same "a child that is not carried" 404 "$(code "$url/v2/img1/manifests/sha256:$(printf 'd%.0s' {1..64})")"
layer=$(grep -o 'sha256:[0-9a-f]*' child.json | tail -n 1)
blob=$url/v2/img1/blobs/$layer
same "blob" 200 "$(code "$blob")"
cp body layer
same "the blob hashes to its digest" "$layer" "sha256:$(sha256sum layer | cut -d' ' -f1)"
same "HEAD tells the length" 2097152 "$(get -I "$blob" | tr -d '\r' | sed -n 's/^Content-Length: //p')"
for range in 500-1499 1048570-1048580 0-0 -1 131071-393217; do
    same "range $range" 206 "$(code -r "$range" "$blob")"
    case $range in
    -*) tail -c "${range#-}" layer >want ;;
    *) dd if=layer of=want bs=64K iflag=skip_bytes,count_bytes skip="${range%-*}" \
        count=$((${range#*-} - ${range%-*} + 1)) status=none ;;
    esac
    check "range $range: bytes" cmp want body
done
same "range beyond the end" 416 "$(code -r 3000000-4000000 "$blob")"
same "unchanged" 304 "$(code -H "If-None-Match: \"$layer\"" "$blob")"
same "resume" 206 "$(head -c 1000000 layer >half; get -C - -o half -w '%{http_code}' "$blob")"
check "resume: bytes" cmp half layer
same "any blob by digest" 200 "$(code "$url/blobs/sha256/${layer#sha256:}")"
for method in PUT POST PATCH DELETE; do
    same "$method" 405 "$(code -X "$method" "$blob")"
done
check "405 says what is allowed" grep -q 'Allow: GET, HEAD' head
same "an upload is refused in an orderly way" 405 \
    "$(head -c 3000000 /dev/zero | code -X POST --data-binary @- "$url/v2/img1/blobs/uploads/")"
get -o copy "$url/bundle/$id"
check "the bundle itself" cmp copy "$bundle"
same "plain on loopback" 200 "$(curl -sS -o body -w '%{http_code}' "http://127.0.0.1:$http/healthz")"
newest=$(get -I "$url/v2/img0/manifests/v1" | tr -d '\r' | sed -n 's/^Docker-Content-Digest: sha256://p')
check "the newest serial wins a tag" grep -q "$newest" <(tar -I zstd -tf other/test.tar.zst)
check "metrics" grep -q '^kregistry_requests_total{route="blob",code="206"} [0-9]' <(get "$url/metrics")
check "access log" jq -es 'length > 20 and all(.[]; .time and .client and .status)' access
check "no TLS 1.1" bash -c "! openssl s_client -connect 127.0.0.1:$https -tls1_1 </dev/null"

# --- other people's clients ----------------------------------------------------------------------
mkdir certs && cp tls.crt certs/ca.crt
skopeo_() { skopeo --override-arch amd64 --override-os linux "$@"; }
check "skopeo inspect" skopeo_ inspect --cert-dir certs "docker://127.0.0.1:$https/img1:v1"
check "skopeo copy" skopeo_ copy --preserve-digests --src-cert-dir certs "docker://127.0.0.1:$https/img1:v1" oci:copied:img1
check "skopeo copy: the layer is there" cmp layer "copied/blobs/sha256/${layer#sha256:}"
check "skopeo list-tags, host before the name" skopeo_ list-tags --cert-dir certs \
    "docker://127.0.0.1:$https/registry.k8s.io/img1"
export SSL_CERT_FILE=$work/tls.crt
if command -v crane >/dev/null; then
    same "crane digest" "$digest" "$(crane digest "127.0.0.1:$https/img1:v1")"
    check "crane pull" crane pull --platform linux/amd64 "127.0.0.1:$https/img1:v1" crane.tar
    same "crane ls" v1 "$(crane ls "127.0.0.1:$https/img1")"
    check "crane catalog" crane catalog "127.0.0.1:$https"
    check "crane pull by digest, plain" crane pull --insecure --platform linux/amd64 \
        "127.0.0.1:$http/registry.k8s.io/img1@$digest" crane2.tar
else
    echo "skip  crane is not built (tests/lab/upstream)"
fi
if command -v oras >/dev/null; then
    check "oras manifest fetch" oras manifest fetch --ca-file tls.crt "127.0.0.1:$https/img1:v1"
    check "oras copy" oras copy --from-ca-file tls.crt --platform linux/amd64 \
        "127.0.0.1:$https/img1:v1" --to-oci-layout oras:img1
    check "oras discover" oras discover --ca-file tls.crt "127.0.0.1:$https/img1@$child"
    check "oras blob fetch" oras blob fetch --ca-file tls.crt --output oras.blob \
        "127.0.0.1:$https/img1@$layer"
    check "oras blob fetch: bytes" cmp layer oras.blob
else
    echo "skip  oras is not built (tests/lab/upstream)"
fi

# --- a crowd --------------------------------------------------------------------------------------
if "$crowd" "$blob" tls.crt "$pid" 700 200 100 20; then
    ok "1 000 idle, slow and half connections: others are served"
else
    bad "1 000 idle, slow and half connections"
fi

# --- ending in an orderly way ----------------------------------------------------------------------
get --limit-rate 4M -o slow "$blob" &
reader=$!
sleep 0.2
finish "while a reply is running"
check "the running reply was completed" wait "$reader"
check "the running reply: bytes" cmp slow layer

# --- damage: one blob of a bundle, the rest goes on -------------------------------------------------
cp "$bundle" damaged.tar.zst
# Eight bytes of the layer by which it is found there; grep takes neither a line's end nor a zero among them.
for ((at = 4096; ; at += 8)); do
    bytes=$(od -An -v -tx1 -j "$at" -N 8 layer)
    [[ $bytes =~ \ 0[0a] ]] || break
done
offset=$(LC_ALL=C grep -obUaP "${bytes// /\\x}" damaged.tar.zst | LC_ALL=C sed -n '1s/:.*//p')
printf 'X' | dd of=damaged.tar.zst bs=1 seek=$((offset + 100)) conv=notrunc status=none
start damaged --bundle damaged.tar.zst --id "$id" --plain 127.0.0.1:0
blob=http://127.0.0.1:$http/v2/img1/blobs/$layer
same "a damaged blob: HEAD" 404 "$(curl -sS -I -o body -w '%{http_code}' "$blob")"
same "a damaged blob: GET" 404 "$(curl -sS -o body -w '%{http_code}' "$blob")"
check "a damaged blob: the specification's words" grep -q BLOB_UNKNOWN body
check "a damaged blob is named" grep -q "damaged: blobs/sha256/${layer#sha256:}" damaged
same "other images go on" 200 "$(curl -sS -o body -w '%{http_code}' "http://127.0.0.1:$http/v2/img2/manifests/v1")"
finish "with a damaged bundle"

# Another bundle has the same blob whole: it is served from there.
start both --bundle damaged.tar.zst --id "$id" --bundle "$bundle" --id "$id" --plain 127.0.0.1:0
curl -sS -o body "http://127.0.0.1:$http/v2/img1/blobs/$layer"
check "damaged in one bundle, whole in another" cmp body layer
finish "two bundles"
exit $failed
