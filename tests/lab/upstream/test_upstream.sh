#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The lab's upstream against real clients: every URL of its release file through the redirects with
# Range, every image by token auth, what must be refused, every fault. Uses a running upstream, or
# starts one and ends it again.
set -euo pipefail
shopt -s inherit_errexit
export LC_ALL=C

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
WORK=$(mktemp -d)
PASSED=0
STARTED=""

finish() {
    [[ -z $STARTED ]] || "$HERE/upstream" down
    rm -rf "$WORK"
}

fail() {
    printf 'FAIL %s\n' "$*" >&2
    exit 1
}

pass() {
    PASSED=$((PASSED + 1))
    printf 'ok   %s\n' "$*"
}

# same WHAT WANTED GOT
same() {
    [[ $2 == "$3" ]] || fail "$1: wanted '$2', got '$3'"
    pass "$1"
}

fetch() {
    curl -sS --cacert "$UPSTREAM_CA" "$@"
}

# status URL [curl options]: the status of the first answer, and of the last after redirects
status() {
    local url=$1
    shift
    fetch -o /dev/null -w '%{http_code}' "$@" "$url"
}

# Lines "URL SHA256" of the release file, with version and arch filled in, by the mirrors' hosts.
release_urls() {
    awk '/version:/ { gsub(/[",]/, ""); v = $2; sub(/.*version: /, ""); v = $1 }
        /url:/ { u = $2; gsub(/\{version\}/, v, u); gsub(/\{arch\}/, "amd64", u) }
        /^ *sha256:/ { s = $0; sub(/.*sha256: (\{amd64: )?/, "", s); sub(/\}.*/, "", s); print u, s }' "$WORK/release.yaml" |
        sed -e "s,https://dl.k8s.io/,https://dl.localhost:$UPSTREAM_PORT/," -e "s,https://github.com/,https://github.localhost:$UPSTREAM_PORT/,"
}

test_files() {
    local url sha hops size count=0
    while read -r url sha; do
        hops=$(fetch -L -r 0-1048575 -o "$WORK/a" -w '%{http_code} %{num_redirects} %{url_effective}' "$url")
        [[ $hops == "206 1 https://"@(cdn|objects).localhost:* ]] || fail "$url: $hops"
        size=$(fetch -L -I "$url" | tr -d '\r' | awk 'tolower($1) == "content-length:" { n = $2 } END { print n }')
        if ((size > 1048576)); then
            fetch -L -r 1048576- "$url" >>"$WORK/a"
        fi
        [[ $(sha256sum <"$WORK/a") == "$sha  -" ]] || fail "$url: not the bytes of the release file"
        count=$((count + 1))
    done < <(release_urls)
    same "files of the release file, in two ranges each over a redirect, sha256 right" 9 "$count"
    same ".sha256 beside kubelet" "$(release_urls | awk '/kubelet/ { print $2 }')" \
        "$(fetch -fL "https://dl.localhost:$UPSTREAM_PORT/release/v$UPSTREAM_K8S/bin/linux/amd64/kubelet.sha256")"
    same "a range that cannot be" 416 "$(status "https://cdn.localhost:$UPSTREAM_PORT/release/stable.txt" -r 100000-)"
    same "a file that is not there, on dl" 404 "$(status "https://dl.localhost:$UPSTREAM_PORT/release/v9/x" -L)"
    same "a release that is not there, on github" 404 "$(status "https://github.localhost:$UPSTREAM_PORT/a/b/releases/download/v1/x")"
    same "the object store without the signed URL" 403 \
        "$(status "https://objects.localhost:$UPSTREAM_PORT/opencontainers/runc/releases/download/v1.2.6/runc.amd64")"
    same "credentials carried to the CDN are refused" 400 \
        "$(status "https://cdn.localhost:$UPSTREAM_PORT/release/stable.txt" -u lab:x)"
    ! curl -sS -o /dev/null "https://cdn.localhost:$UPSTREAM_PORT/release/stable.txt" 2>/dev/null || fail "trusted without the lab's CA"
    pass "the certificate is trusted only with the lab's CA"
}

test_members() {
    local names
    names=$(release_urls | awk '/containerd-1/ { print $1 }')
    same "members of the containerd archive" "bin/containerd bin/containerd-shim-runc-v2 bin/ctr" \
        "$(fetch -fL "$names" | tar -tz | grep -v '/$' | xargs)"
    names=$(release_urls | awk '/cni-plugins/ { print $1 }')
    same "the CNI archive's names begin with ./" ./bridge "$(fetch -fL "$names" | tar -tz | grep -x ./bridge)"
    names=$(release_urls | awk '/crictl/ { print $1 }')
    mkdir "$WORK/crictl"
    fetch -fL "$names" | tar -xz -C "$WORK/crictl"
    names=$("$WORK/crictl/crictl" --version)
    [[ $names == *stand-in* ]] || fail "crictl does not say that it is a stand-in: $names"
    pass "crictl says what it is: $names"
    fetch -fL -o "$WORK/kubelet" "$(release_urls | awk '/kubelet/ { print $1 }')"
    chmod +x "$WORK/kubelet"
    same "kubelet says its version" "Kubernetes v$UPSTREAM_K8S" "$("$WORK/kubelet" --version)"
    same "kubeadm says its version" "v$UPSTREAM_K8S" "$("$KUBEADM" version -o short)"
    same "Flannel's manifest speaks the CNI version of its plugin" '"cniVersion": "0.3.1",' \
        "$(fetch -fL "$(release_urls | awk '/flannel/ { print $1 }')" | sed -n 's/^ *\("cniVersion".*\)/\1/p')"
}

crane() {
    DOCKER_CONFIG=${1:-$WORK/nobody} SSL_CERT_FILE=$UPSTREAM_CA "$CRANE" "${@:2}"
}

# Lines "REF DIGEST" of the release file.
release_images() {
    sed -n 's/.*ref: "\([^"]*\)", digest: "\([^"]*\)".*/\1 \2/p' "$WORK/release.yaml"
}

test_images() {
    local ref digest count=0 attested=0
    while read -r ref digest; do
        [[ $(crane "" digest "$UPSTREAM_REGISTRY/$ref") == "$digest" ]] || fail "$ref: the registry has another digest"
        crane "" manifest "$UPSTREAM_REGISTRY/$ref" >"$WORK/index"
        [[ sha256:$(sha256sum <"$WORK/index" | cut -d' ' -f1) == "$digest" ]] || fail "$ref: index bytes"
        jq -e 'any(.manifests[]; .platform.architecture == "amd64" and .platform.os == "linux")' "$WORK/index" >/dev/null || fail "$ref: no amd64"
        ! jq -e 'any(.manifests[]; .annotations["vnd.docker.reference.type"] == "attestation-manifest" and .platform.architecture == "unknown")' \
            "$WORK/index" >/dev/null || attested=$((attested + 1))
        crane "" pull --platform linux/amd64 --format oci "$UPSTREAM_REGISTRY/$ref" "$WORK/pulled"
        count=$((count + 1))
    done < <(release_images)
    same "images pulled by tag by nobody in particular, with a token" 10 "$count"
    same "indexes with an attestation child" 6 "$attested"
    same "a docker manifest list" application/vnd.docker.distribution.manifest.list.v2+json \
        "$(crane "" manifest "$UPSTREAM_REGISTRY/registry.k8s.io/kube-proxy:v$UPSTREAM_K8S" | jq -r .mediaType)"
    same "an image for two architectures" "amd64 arm64 unknown unknown" \
        "$(crane "" manifest "$UPSTREAM_REGISTRY/docker.io/kpacklab/hello:1" | jq -r '.manifests[].platform.architecture' | sort | xargs)"
    mkdir "$WORK/certs"
    cp "$UPSTREAM_CA" "$WORK/certs/ca.crt"
    skopeo copy -q --all --src-no-creds --src-cert-dir "$WORK/certs" "docker://$UPSTREAM_REGISTRY/registry.k8s.io/pause:3.9" "dir:$WORK/pause"
    pass "skopeo copies a whole index"
    "$ORAS" manifest fetch --ca-file "$UPSTREAM_CA" "$UPSTREAM_REGISTRY/registry.k8s.io/pause:3.9" >/dev/null
    pass "oras fetches a manifest"
}

anonymous_token() {
    fetch -f "https://auth.localhost:$UPSTREAM_PORT/token?service=$UPSTREAM_REGISTRY&scope=repository:$1:pull" | jq -r .token
}

test_auth() {
    local base=https://$UPSTREAM_REGISTRY/v2/registry.k8s.io/pause token blob answer
    answer=$(fetch -D - -o /dev/null "$base/manifests/3.9" | tr -d '\r')
    grep -qi "^www-authenticate: Bearer realm=\"https://auth.localhost:$UPSTREAM_PORT/token\"" <<<"$answer" || fail "no challenge: $answer"
    pass "without a token: a challenge that names another host"
    token=$(anonymous_token registry.k8s.io/pause)
    blob=$(crane "" manifest --platform linux/amd64 "$UPSTREAM_REGISTRY/registry.k8s.io/pause:3.9" | jq -r '.layers[0].digest')
    answer=$(fetch -o /dev/null -w '%{http_code} %{redirect_url}' -H "Authorization: Bearer $token" "$base/blobs/$blob")
    [[ $answer == "307 https://blobs.localhost:$UPSTREAM_PORT/"* ]] || fail "a blob is not behind a redirect: $answer"
    pass "a blob is behind a redirect to another host"
    same "the blob over there" "${blob#sha256:}" "$(fetch -fL --oauth2-bearer "$token" "$base/blobs/$blob" | sha256sum | cut -d' ' -f1)"
    same "a token carried over there is refused" 400 "$(status "$base/blobs/$blob" -L --location-trusted -H "Authorization: Bearer $token")"
    ! crane "" digest "$UPSTREAM_REGISTRY/private/hello:1" 2>/dev/null || fail "the private repository is open to all"
    pass "the private repository is refused to nobody in particular"
    crane "$UPSTREAM_DOCKER_CONFIG" digest "$UPSTREAM_REGISTRY/private/hello:1" >/dev/null
    pass "the private repository is open to the user"
    same "wrong password" 401 "$(status "https://auth.localhost:$UPSTREAM_PORT/token?service=$UPSTREAM_REGISTRY" -u lab:wrong)"
    same "a token by POST, as OAuth2 clients ask" 200 "$(status "https://auth.localhost:$UPSTREAM_PORT/token" \
        -d grant_type=password -d username=lab --data-urlencode "password=$(cat "$UPSTREAM_PASSWORD_FILE")" -d "service=$UPSTREAM_REGISTRY")"
    token=$(anonymous_token private/hello)
    same "a token for another repository does not help" 401 \
        "$(status "https://$UPSTREAM_REGISTRY/v2/private/hello/manifests/1" -H "Authorization: Bearer $token")"
    ! crane "" copy "$UPSTREAM_REGISTRY/registry.k8s.io/pause:3.9" "$UPSTREAM_REGISTRY/registry.k8s.io/pause:mine" 2>/dev/null || fail "anybody can push"
    pass "nobody in particular cannot push"
}

test_faults() {
    local file=dl/release/v$UPSTREAM_K8S/bin/linux/amd64/kubectl.sha256 whole key=$$
    whole=$(fetch -fL "https://dl.localhost:$UPSTREAM_PORT/${file#dl/}")
    same "fault 404" 404 "$(status "$UPSTREAM_FAULT/404/$file")"
    same "fault 500" 500 "$(status "$UPSTREAM_FAULT/500/$file")"
    same "fault 429, the first time" "429 1" "$(fetch -o /dev/null -w '%{http_code} %header{retry-after}' "$UPSTREAM_FAULT/429-$key/$file")"
    same "fault 429, the second time" "$whole" "$(fetch -f "$UPSTREAM_FAULT/429-$key/$file")"
    ! fetch -f -o "$WORK/cut" "$UPSTREAM_FAULT/truncate/$file" 2>/dev/null || fail "a truncated body looks whole"
    same "fault truncate: half of it" 32 "$(stat -c %s "$WORK/cut")"
    ! fetch -f -o "$WORK/cut" "$UPSTREAM_FAULT/cut-$key/$file" 2>/dev/null || fail "a cut body looks whole"
    fetch -f -C - -o "$WORK/cut" "$UPSTREAM_FAULT/cut-$key/$file"
    same "fault cut: resumed by a range" "$whole" "$(cat "$WORK/cut")"
    [[ $(fetch -f "$UPSTREAM_FAULT/flip/$file") != "$whole" ]] || fail "flip changed nothing"
    pass "fault flip"
    same "fault norange" 200 "$(status "$UPSTREAM_FAULT/norange/$file" -r 1-2)"
}

test_instances() {
    local other=(env UPSTREAM_DIR="$WORK/other" UPSTREAM_PORT=18999 UPSTREAM_REGISTRY_PORT=15999 "$HERE/upstream")
    "${other[@]}" up --k8s "$UPSTREAM_K8S" 2>/dev/null
    "${other[@]}" status >/dev/null || fail "a second upstream does not run"
    "$HERE/upstream" status >/dev/null || fail "the first upstream does not run beside the second"
    "${other[@]}" down 2>/dev/null
    ! "${other[@]}" status >/dev/null || fail "down left something running"
    [[ -z $(ss -Hltn 'sport = :18999 or sport = :15999') ]] || fail "down left a port open"
    ! grep -qF "$WORK/other" /etc/hosts || fail "down left a line in /etc/hosts"
    "$HERE/upstream" status >/dev/null || fail "the second upstream's end took the first with it"
    pass "two upstreams side by side, each taken away alone"
}

main() {
    trap finish EXIT
    if ! "$HERE/upstream" status >/dev/null 2>&1; then
        "$HERE/upstream" up
        STARTED=yes
    fi
    eval "$("$HERE/upstream" env)"
    "$HERE/upstream" release-file "$WORK/release.yaml"
    "$HERE/upstream" mirrors-file "$WORK/mirrors.yaml"
    test_files
    test_members
    test_images
    test_auth
    test_faults
    test_instances
    printf '%d checks of the upstream passed\n' "$PASSED"
}

main "$@"
