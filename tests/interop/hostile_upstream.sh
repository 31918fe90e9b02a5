#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hostile_upstream.sh FETCH_PROBE HOSTILE_SERVER: the downloads of kpack against a server that redirects in
# circles, cuts, lies about sizes, asks for credentials, trickles and floods. All on loopback.
# shellcheck disable=SC2317 # functions are called through check and trap
set -euo pipefail
probe=$1 server=$2
work=$(mktemp -d /tmp/kp-hostile-XXXXXX)
pids=()
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    chmod -R u+w "$work"
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
export HOME=$work no_proxy='*' NO_PROXY='*'
unset DOCKER_CONFIG XDG_CACHE_HOME
failed=0
ok() { printf 'ok    %s\n' "$1"; }
bad() {
    printf 'FAIL  %s\n' "$1"
    tail -n 6 out err 2>/dev/null || true
    failed=1
}

# --- certificates and the server ---------------------------------------------------------------
certificate() { # NAME CA|self
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" \
        -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=DNS:a.localhost,DNS:b.localhost\n' >ext
    openssl x509 -req -in "$1.csr" -days 2 -CA "$2.pem" -CAkey "$2.key" -CAcreateserial -extfile ext \
        -out "$1.pem" 2>/dev/null
}
for ca in ca otherca; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$ca" \
        -keyout $ca.key -out $ca.pem 2>/dev/null
done
certificate good ca
certificate bad otherca
"$server" good.pem good.key bad.pem bad.key requests.log >ports &
pids+=($!)
for _ in {1..100}; do [[ -s ports ]] && break; sleep 0.05; done
read -r tls badtls plain <ports

printf 'secret\n' >password
chmod 600 password
write_mirrors() { # FILE REALMS
    cat >"$1" <<END
kind: kpack.mirrors/v1
mirrors:
  - {from: "https://files.example/", to: "https://a.localhost:$tls/", ca: ca.pem, username: ann, password_file: password}
  - {from: "https://nobody.example/", to: "https://a.localhost:$tls/", ca: ca.pem}
  - {from: "https://bad.example/", to: "https://a.localhost:$badtls/", ca: ca.pem}
  - {from: "https://waived.example/", to: "https://a.localhost:$badtls/", insecure: true}
  - {from: "https://plain.example/", to: "http://a.localhost:$plain/"}
  - {from: "registry.example", to: "a.localhost:$tls", ca: ca.pem, username: ann, password_file: password$2}
  - {from: "anonymous.example", to: "a.localhost:$tls", ca: ca.pem}
END
}
write_mirrors m.yaml ""
write_mirrors realms.yaml ", realms: ['b.localhost:$tls']"

# --- helpers -----------------------------------------------------------------------------------
n=0
new_cache() { n=$((n + 1)); cache=$work/cache$n; }
run() { # ARGUMENTS…: into out, err, $status
    local command=$1
    shift
    status=0
    timeout 60 "$probe" "$command" --cache "$cache" --mirrors "${mirrors:-m.yaml}" --backoff-ms 20 \
        --low-speed-seconds 2 "$@" >out 2>err || status=$?
}
fails() { # NAME REASON TEXT ARGUMENTS…: ends with that reason, and the message and hint have the text
    local name=$1 reason=$2 text=$3
    shift 3
    run "$1" --json "${@:2}"
    if [[ $status != 0 ]] && [[ $(jq -r .reason out) == "$reason" ]] && grep -qF -- "$text" out; then
        ok "$name"
    else
        bad "$name: wanted reason $reason with '$text', status $status"
    fi
}
gets() { # NAME SHA TEXT ARGUMENTS…: a file of that digest, and the output has the text
    local name=$1 sha=$2 text=$3
    shift 3
    run "$@"
    if [[ $status == 0 ]] && grep -q "^$sha " out && grep -qF -- "$text" out err; then
        ok "$name"
    else
        bad "$name (status $status)"
    fi
}
check() { # NAME COMMAND…
    local name=$1
    shift
    if "$@"; then ok "$name"; else bad "$name"; fi
}
kept_nothing() { [[ -z $(find "$cache" -type f \( -path '*/sha256/*' -o -path '*/partial/*' \)) ]]; }
sha_of() { curl -s --cacert ca.pem "https://a.localhost:$tls/ok/$1" | sha256sum | cut -d' ' -f1; }
sha_a=$(sha_of 1000000)
base=https://nobody.example

# --- what works --------------------------------------------------------------------------------
new_cache
gets "a file" "$sha_a" "1000000 fetched" file --sha256 "$sha_a" $base/ok/1000000
: >requests.log
gets "again: out of the cache" "$sha_a" "1000000 cached" file --sha256 "$sha_a" $base/ok/1000000
check "no request for what is cached" test ! -s requests.log
check "cached under its digest, read-only" test "$(stat -c %a "$cache/sha256/${sha_a:0:2}/$sha_a")" = 444
new_cache
gets "plain http where the mirrors file says so" "$sha_a" fetched file https://plain.example/ok/1000000
new_cache
gets "a certificate waived by the mirrors file" "$sha_a" fetched file https://waived.example/ok/1000000
new_cache
gets "a redirect on the same host" "$sha_a" fetched file $base/within/1000000

# --- sizes, digests, broken bodies --------------------------------------------------------------
new_cache
fails "checksum mismatch names both digests" checksum "got sha256:$sha_a" file --sha256 "${sha_a//a/b}" $base/ok/1000000
check "  nothing of it is kept" kept_nothing
fails "another size than expected" wrong_size "offers 1000000 bytes, 999999" file --size 999999 $base/ok/1000000
fails "too large, said beforehand" too_large "5000" file --max 5000 $base/ok/1000000
fails "an endless body is cut at the limit" too_large "3000000" file --max 3000000 $base/endless
fails "endless headers" bad_answer "headers are too long" file $base/headers
fails "an error page without end" not_found "HTTP 404" file $base/endless404
fails "Content-Encoding nobody asked for" bad_answer "Content-Encoding" file $base/encoded
fails "cut off each time without progress" truncated "after 3 attempts" file --attempts 3 $base/cutzero/1000
new_cache
: >requests.log
gets "cut off each 300 kB: continued by Range" "$sha_a" resumed=0 file --sha256 "$sha_a" $base/cut/1000000/300000
check "  by Range and not anew" grep -q 'range=bytes=900000-' requests.log
new_cache
run file --attempts 1 --sha256 "$sha_a" $base/cut/1000000/300000
check "a broken-off run keeps its part" test "$(stat -c %s "$cache/partial/$sha_a")" = 300000
gets "the next run continues it" "$sha_a" resumed=300000 file --sha256 "$sha_a" $base/ok/1000000
new_cache
run file --attempts 1 $base/half/x0/1000000
gets "without a digest: continued by its ETag" "$sha_a" resumed=500000 file $base/half/x0/1000000
new_cache
gets "continued, but the server ignores Range" "$sha_a" fetched file $base/never416/x1/1000000
new_cache
run file --attempts 1 --sha256 "$sha_a" $base/cut/1000000/300000
gets "a server without Range: from the beginning" "$sha_a" fetched file --sha256 "$sha_a" $base/norange/1000000
new_cache
gets "another version behind the same name" "$sha_a" fetched file --sha256 "$sha_a" $base/changed/x2/1000000
new_cache
gets "the rest of another version: once more" "$sha_a" "from the beginning" file --sha256 "$sha_a" $base/stale/x3/1000000
new_cache
gets "416 to a Range that should be fine" "$sha_a" "from the beginning" file --sha256 "$sha_a" $base/never416/x4/1000000
new_cache
gets "206 from another byte" "$sha_a" "from the beginning" file --sha256 "$sha_a" $base/wrongpart/x5/1000000
new_cache
mkdir -p "$cache/partial"
curl -s --cacert ca.pem "https://a.localhost:$tls/ok/1000000" >"$cache/partial/$sha_a"
gets "a partial file that is complete: 416 with the size" "$sha_a" resumed=1000000 file --sha256 "$sha_a" $base/ok/1000000
new_cache
mkdir -p "$cache/partial"
head -c 2000000 /dev/zero >"$cache/partial/$sha_a"
gets "a partial file that is too long" "$sha_a" fetched file --sha256 "$sha_a" --size 1000000 $base/ok/1000000

# --- statuses and slowness ---------------------------------------------------------------------
new_cache
fails "404" not_found "check the version" file $base/status/404
fails "403" unauthorized "password_file" file $base/status/403
fails "500, again and again" server_error "after 2 attempts" file --attempts 2 $base/status/500
begin=$SECONDS
gets "429 with Retry-After: waited for" "$sha_a" "again in 2.0 s" file $base/busy/y1/1/2/1000000
check "  as long as was asked" test $((SECONDS - begin)) -ge 2
fails "429 to the end" rate_limited "too many requests" file --attempts 3 $base/busy/y2/99/0/10
fails "a Retry-After nobody waits for" rate_limited "15 min" file $base/busy/y3/99/900/10
fails "a trickle (slow loris)" timeout "too slow" file --attempts 1 $base/loris
fails "a trickle of headers" timeout "too slow" file --attempts 1 $base/lorishead
fails "nobody listens" unreachable "is a.localhost up" file --attempts 2 "https://a.localhost:1/x"
fails "a name that is not" unresolved_host "DNS" file https://nowhere.invalid/x

# --- certificates, redirects, credentials --------------------------------------------------------
fails "a certificate of another CA" certificate "mirrors file" file https://bad.example/ok/10
fails "a certificate nobody knows" certificate "ca: FILE" file "https://a.localhost:$tls/ok/10"
fails "plain http that nobody allowed" bad_url "plain http" file "http://a.localhost:$plain/ok/10"
fails "a redirect in circles" redirect "more than 10" file $base/loop
fails "a redirect to plain http" redirect "plain http is refused" file $base/downgrade
fails "a redirect to file:" redirect "not an https URL" file $base/filescheme
: >requests.log
new_cache
gets "a redirect to another host" "$sha_a" fetched file https://files.example/bounce/1000000
check "  the first host got the credentials" grep -q '^a.localhost.*bounce.*authorization=Basic' requests.log
check "  the other host did not" grep -q '^b.localhost.*authorization=-$' requests.log
gets "a redirect to the same host" "$sha_a" fetched file https://files.example/within/1000000
check "  it got them both times" grep -q '^a.localhost.* /ok/.*authorization=Basic' requests.log
new_cache
: >requests.log
fails "another host that asks for credentials" unauthorized "HTTP 401" file --attempts 2 https://files.example/askelse
check "  was asked" grep -q '^b.localhost.*GET /ask ' requests.log
check "  gets none" bash -c "! grep -q '^b.localhost.*authorization=Basic' requests.log"
: >requests.log
gets "a chain of nine redirects from host to host" "$sha_a" fetched file https://files.example/chain/9/1000000
check "  the other host never got credentials" bash -c "! grep -q '^b.localhost.*authorization=Basic' requests.log"
new_cache
fails "a chain without end" redirect "more than 10" file https://files.example/chain/99999/10
check "  ends after so many" test "$(grep -c /chain/9999 requests.log)" -le 12
new_cache
fails "the signed part of a redirect is not shown" checksum "b.localhost:$tls/ok/1000000)" \
    file --sha256 "${sha_a//a/b}" $base/bounce/1000000
check "  nor anywhere" bash -c '! grep -q signed= out err'

# --- a registry that is not what it should be ---------------------------------------------------
image() { fails "$1" "$2" "$3" image "${@:4}"; }
gets_image() { # NAME ARGUMENTS…
    run image "${@:2}"
    if [[ $status == 0 ]] && grep -q '^  layer amd64' out; then ok "$1"; else bad "$1 (status $status)"; fi
}
new_cache
gets_image "an image" anonymous.example/fine/x:1
check "  urls of its layers are not followed" bash -c '! grep -q elsewhere requests.log'
: >requests.log
gets_image "again by digest: no request at all" --sha256 "$(sed -n 's/^image [^ ]* sha256:\([0-9a-f]*\) .*/\1/p' out)" anonymous.example/fine/x:1
check "  none" test ! -s requests.log
gets_image "an index in an index" anonymous.example/nested/x:1
image "indexes without end" bad_image "nested deeper" anonymous.example/deep/x:1
image "an arch that is not there" missing_arch "it has linux/amd64" --arch arm64 anonymous.example/fine/x:1
image "a type other than the Content-Type" bad_image "differs from the server's Content-Type" anonymous.example/type/x:1
image "layers and manifests in one" bad_image "both an index" anonymous.example/both/x:1
image "layers that live elsewhere" unsupported_image "outside of the registry" anonymous.example/foreign/x:1
image "600 layers" bad_image "512 are allowed" anonymous.example/layers/x:1
image "schema 1" unsupported_image "schema 1" anonymous.example/schema1/x:1
image "a manifest without end" too_large "4194304" anonymous.example/huge/x:1
image "a false Docker-Content-Digest" checksum "the registry says" anonymous.example/lie/x:1
image "not the digest that a lock says" not_found "not in its registry" --sha256 "$sha_a" anonymous.example/fine/y:1
new_cache
: >requests.log
gets_image "a token server on the registry's own host" registry.example/own/x:1
check "  gets the credentials" grep -q '/token.*authorization=Basic' requests.log
new_cache
: >requests.log
gets_image "a token server elsewhere" registry.example/elsewhere/x:1
check "  is asked" grep -q '^b.localhost.*GET /token' requests.log
check "  and gets no credentials" bash -c "! grep -q '^b.localhost.*authorization=Basic' requests.log"
new_cache
: >requests.log
mirrors=realms.yaml gets_image "a token server elsewhere that the mirrors file names" registry.example/elsewhere/x:1
check "  gets them" grep -q '^b.localhost.*/token.*authorization=Basic' requests.log
image "a token server without TLS" unauthorized "no https URL" registry.example/httprealm/x:1
check "  is not asked" bash -c "! grep -q '^a.localhost:$plain' requests.log"
gets_image "Basic" registry.example/basic/x:1
image "Basic without credentials" unauthorized "docker login a.localhost" anonymous.example/basic/x:1

# --- docker's config.json and helpers ------------------------------------------------------------
mkdir -p docker bin
export DOCKER_CONFIG=$work/docker
new_cache
printf '{"auths":{"a.localhost:%s":{"auth":"%s"}}}' "$tls" "$(printf 'bob:pw' | base64)" >docker/config.json
: >requests.log
gets_image "credentials of docker's config.json" anonymous.example/basic/x:1
check "  are sent" grep -q "authorization=Basic $(printf 'bob:pw' | base64)" requests.log
printf '{"credHelpers":{"a.localhost:%s":"test"}}' "$tls" >docker/config.json
# shellcheck disable=SC2016 # they expand in the helper
printf '#!/bin/sh\nread host; [ "$1 $host" = "get a.localhost:%s" ] || exit 3\necho %s\n' "$tls" \
    "'{\"Username\":\"eve\",\"Secret\":\"pw\"}'" >bin/docker-credential-test
chmod +x bin/docker-credential-test
new_cache
PATH=$work/bin:$PATH gets_image "a credential helper" anonymous.example/basic/x:1
check "  is used" grep -q "authorization=Basic $(printf 'eve:pw' | base64)" requests.log
printf '{"credHelpers":{"a.localhost:%s":"../evil"}}' "$tls" >docker/config.json
run image --json anonymous.example/basic/x:1
check "a helper's name cannot be a path" grep -q 'no name of a credential helper' out
rm docker/config.json

# --- several at once, Ctrl-C, a full disk ---------------------------------------------------------
new_cache
(run file --sha256 "$sha_a" $base/cut/1000000/100000; exit "$status") &
first=$!
run file --sha256 "$sha_a" $base/cut/1000000/100000
check "two kpacks at the same file" wait "$first"
check "  both are right" test "$status" = 0
check "  nothing is left over" test -z "$(find "$cache/partial" -type f)"
new_cache
"$probe" file --cache "$cache" --mirrors m.yaml --low-speed-seconds 30 $base/loris >out 2>err &
pid=$!
sleep 1.5
kill -INT "$pid"
status=0
wait "$pid" || status=$?
check "Ctrl-C: ends in order" grep -q interrupted err
check "  with an error" test "$status" = 1
check "  keeping its part" test -n "$(find "$cache/partial" -type f -size +0)"
if mkdir full && mount -t tmpfs -o size=600k tmpfs full 2>/dev/null; then
    cache=$work/full/cache
    fails "a full disk" disk_full "free space there" file --sha256 "$sha_a" $base/ok/1000000
    umount full
else
    cache=$work/limited
    # without root: a limit on file sizes stands in for a file system that takes no more
    (ulimit -f 400 && trap '' XFSZ && run file --sha256 "$sha_a" $base/ok/1000000; exit "$status") || true
    check "a file that cannot grow" grep -q "store .* in " err
fi

# --- archives ------------------------------------------------------------------------------------
new_cache
mkdir -p tree/bin && printf 'program\n' >tree/bin/x && printf 'other\n' >tree/bin/y && ln -s x tree/bin/link
program=$(sha256sum <tree/bin/x | cut -d' ' -f1)
tar -C tree -czf t.tar.gz ./bin && tar -C tree -cJf t.tar.xz bin && tar -C tree --zstd -cf t.tar.zst bin
bsdtar -C tree --format zip -cf t.zip bin
for kind in tar.gz tar.xz tar.zst zip; do
    new_cache
    gets "a member of a $kind" "$program" "bin/x" archive "t.$kind" bin/x ./bin//y
done
fails "a member that is not there" missing_member "bin/x, bin/y" archive t.tar.gz bin/z
fails "a link" bad_archive "is a link" archive t.tar.gz bin/link
fails "a link in a zip" bad_archive "is a link" archive t.zip bin/link
tar -C tree -czPf up.tar.gz --transform 's|bin/y|../../etc/evil|' bin
fails "a name with .." bad_archive "has '..'" archive up.tar.gz bin/x
tar -C tree -czPf abs.tar.gz --transform 's|bin/y|/etc/evil|' bin
fails "an absolute name" bad_archive "absolute" archive abs.tar.gz bin/x
tar -C tree -cf twice.tar bin/x && tar -C tree -rf twice.tar bin/x
python3 - <<'END'
import zipfile
for name, member in (("up", "../../etc/evil"), ("abs", "/etc/evil"), ("back", "bin/../../evil")):
    with zipfile.ZipFile(f"{name}.zip", "w") as z:
        z.writestr("bin/x", "program\n")
        z.writestr(member, "evil\n")
END
fails "a zip with a name with .." bad_archive "has '..'" archive up.zip bin/x
fails "a zip with .. amid a name" bad_archive "has '..'" archive back.zip bin/x
fails "a zip with an absolute name" bad_archive "absolute" archive abs.zip bin/x
check "  nothing was written beside the cache" test ! -e ../evil -a ! -e evil -a ! -e etc
fails "a member twice" bad_archive "twice" archive twice.tar bin/x
head -c 100000000 /dev/zero >big && tar -czf bomb.tar.gz big tree/bin/x && rm big
fails "a bomb in front of the member" too_large "unpacks to more" archive --max 20000000 bomb.tar.gz tree/bin/x
fails "a member that is a bomb" too_large "member big is larger" archive --size 5000000 bomb.tar.gz big
check "  nothing of it is kept" test -z "$(find "$cache/tmp" "$cache/sha256" -size +4M)"
head -c 100 t.tar.gz >short.tar.gz
fails "a truncated archive" bad_archive "short.tar.gz" archive short.tar.gz bin/x
printf 'hello\n' >text
fails "no archive at all" bad_archive "not an archive" archive text bin/x

exit $failed
