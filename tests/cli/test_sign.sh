#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Signing: encrypted keys, detached signatures, keys in a PKCS#11 token; diff and provenance.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
run 0 keygen site
FROM=(--k8s v1.30 --release release.yaml --arch amd64)
create 0 "${FROM[@]}" --serial 1000 -o x.tar.zst

# --- an encrypted key ------------------------------------------------------------------------------
run 0 keygen ann --passphrase-fd 3 3<<<'correct horse battery'
grep -q 'BEGIN ENCRYPTED PRIVATE KEY' config/kpack/keys/ann.key || fail "the key is not encrypted"
openssl asn1parse -in config/kpack/keys/ann.key >asn1
grep -q ':scrypt\|:id-scrypt' asn1 || fail "not scrypt"
openssl pkey -in config/kpack/keys/ann.key -passin 'pass:correct horse battery' -pubout -out ossl.pub ||
    fail "OpenSSL does not read it"
same ossl.pub config/kpack/keys/ann.pub
run 2 keygen short --passphrase-fd 3 3<<<'short'
has err "shorter than 8 bytes"
[[ ! -e config/kpack/keys/short.key ]] || fail "a key was made"
run 2 sign x.tar.zst --key ann --passphrase-fd 3 3<<<'wrong horse'
has err "the passphrase does not open the key"
run 2 sign x.tar.zst --key ann --passphrase-fd 3 3</dev/null
has err "the passphrase is empty"
run 2 sign x.tar.zst --key ann --passphrase-fd 77
has err "not the number of an open descriptor"
setsid "$KPACK" sign x.tar.zst --key ann </dev/null >out 2>err && fail "signed without a passphrase"
has err "there is no terminal to ask on"
has err "--passphrase-fd FD"
run 0 sign x.tar.zst --key ann --passphrase-fd 3 3<<<'correct horse battery'
run 0 sign --check x.tar.zst --json
[[ $(jq -r '.signatures | map(.name + " " + .state) | sort | join(",")' out) == "ann valid,site valid" ]] ||
    fail "sign --check: $(<out)"

# On a terminal: no echo, and a second chance.
if command -v script >/dev/null; then
    (sleep 3; echo 'wrong horse'; sleep 3; echo 'correct horse battery'; sleep 3) |
        script -qec "'$KPACK' sign x.tar.zst --key ann" /dev/null >tty.out 2>&1 || fail "on a terminal: $(<tty.out)"
    grep -q 'signed ' tty.out || fail "on a terminal: $(<tty.out)"
    ! grep -q 'horse' tty.out || fail "what was typed is shown: $(<tty.out)"
fi

# --- detached ---------------------------------------------------------------------------------------
create 0 "${FROM[@]}" --serial 1001 -o y.tar.zst --key site
mkdir bob && tar --zstd -xf y.tar.zst -C bob bundle.json
run 0 keygen bob --folder bob
run 0 sign --detached bob/bundle.json --key bob/bob.key
has err "serial 1001"
[[ $(wc -c <bob/bundle.json.sig) == 202 && $(wc -l <bob/bundle.json.sig) == 1 ]] || fail "not one line"
rm config/kpack/trusted.d/bob.pub
run 3 sign --attach bob/bundle.json.sig y.tar.zst
has err "which is not trusted here"
before=$(sum y.tar.zst)
run 3 sign --attach bob/bundle.json.sig x.tar.zst --trust bob/bob.pub
has err "does not fit the bundle.json"
sed 's/.$/ /' bob/bundle.json.sig >bob/bad.sig
run 3 sign --attach bob/bad.sig y.tar.zst --trust bob/bob.pub
has err "canonical form"
cat bob/bundle.json.sig bob/bundle.json.sig >bob/two.sig
run 3 sign --attach bob/two.sig y.tar.zst --trust bob/bob.pub
[[ $(sum y.tar.zst) == "$before" ]] || fail "a refused signature changed the file"
run 0 sign --attach bob/bundle.json.sig y.tar.zst --trust bob/bob.pub
run 0 verify y.tar.zst --key bob/bob.pub
has out "bob (key"
run 0 sign --check y.tar.zst
has out "unknown_key"
echo '{"kind":"other"}' >not.json
run 4 sign --detached not.json --key site
[[ ! -e not.json.sig ]] || fail "something else was signed"
run 2 sign --detached --check y.tar.zst
rm config/kpack/trusted.d/*.pub
run 3 sign --check y.tar.zst --json
jq -es 'length == 1 and (.[0].signatures | length == 2)' out >/dev/null || fail "one document: $(<out)"
cp config/kpack/keys/site.pub config/kpack/trusted.d/

# --- diff ----------------------------------------------------------------------------------------------
run 0 diff x.tar.zst y.tar.zst
has out "carry     "
echo '# other' >>www/dl/flannel-0.22.0.yml
create 0 "${FROM[@]}" --serial 1002 --image quay.io/x/extra:1 -o z.tar.zst --key site
run 1 diff x.tar.zst z.tar.zst
grep -qE '^added +image +quay.io/x/extra:1 ' out || fail "the image is not there: $(<out)"
grep -qE '^changed +manifest +kube-flannel ' out || fail "the manifest is not there: $(<out)"
run 1 diff --json z.tar.zst x.tar.zst
[[ $(jq -r '[.same, .carry.blobs, (.changes[] | select(.kind == "image") | .change)] | map(tostring) | join(" ")' out) == "false "*" removed" ]] ||
    fail "diff --json: $(<out)"
run 1 diff --json x.tar.zst z.tar.zst
carry=$(jq .carry.bytes out)
create 0 "${FROM[@]}" --serial 1002 --image quay.io/x/extra:1 -o d.tar.zst --key site --base x.tar.zst
run 1 diff --json x.tar.zst d.tar.zst
[[ $(jq .carry.bytes out) == "$carry" ]] || fail "a delta carries something else"
tar --zstd -tvf d.tar.zst | awk '$6 ~ /^blobs/ {n += $3} END {exit n != '"$carry"'}' || fail "the delta has not $carry bytes of blobs"

# --- provenance ------------------------------------------------------------------------------------------
run 0 provenance x.tar.zst
jq -e --arg lock "$(sum x.lock.json)" --arg id "$(tar --zstd -xOf x.tar.zst bundle.json | sha256sum | cut -d' ' -f1)" '
    ._type == "https://in-toto.io/Statement/v1" and .predicateType == "https://slsa.dev/provenance/v1"
    and (.subject | length == 1) and .subject[0].digest.sha256 == $id
    and (.predicate.buildDefinition | (.buildType | startswith("urn:")) and (.externalParameters | type == "object")
        and (.resolvedDependencies | length > 10 and all(.uri and (.digest.sha256 | test("^[0-9a-f]{64}$")) and .annotations.checked)))
    and (.predicate.runDetails | .builder.id and .builder.version.kpack and .builder.version.libzstd
        and .byproducts[0].digest.sha256 == $lock and .metadata.startedOn)' out >/dev/null || fail "provenance: $(<out)"

# --- a token ----------------------------------------------------------------------------------------------
SOFTHSM=/usr/lib/softhsm/libsofthsm2.so
if [[ -e $SOFTHSM ]] && command -v softhsm2-util pkcs11-tool >/dev/null; then
    mkdir tokens
    printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$WORK" >softhsm2.conf
    export SOFTHSM2_CONF=$WORK/softhsm2.conf
    export ASAN_OPTIONS=${ASAN_OPTIONS:-}:detect_leaks=0 # the module's own
    softhsm2-util --init-token --free --label site --so-pin 12345678 --pin 87654321 >/dev/null
    token_key() { pkcs11-tool --module $SOFTHSM --login --pin 87654321 --token-label site --keypairgen --key-type "$1" --label "$2" --id "$3" >/dev/null 2>&1; }
    token_key EC:edwards25519 release 01
    token_key EC:prime256v1 wrong 02
    URI="pkcs11:token=site;object=release?module-path=$SOFTHSM"
    run 2 sign y.tar.zst --key "$URI" --passphrase-fd 3 3<<<00000000
    has err "the PIN is wrong"
    run 2 sign y.tar.zst --key "$URI&pin-value=87654321"
    has err "a PIN must not be in the pkcs11: URI"
    run 2 sign y.tar.zst --key "pkcs11:token=site;object=wrong?module-path=$SOFTHSM" --passphrase-fd 3 3<<<87654321
    has err "is no Ed25519 key"
    run 2 sign y.tar.zst --key "pkcs11:token=site?module-path=$SOFTHSM" --passphrase-fd 3 3<<<87654321
    has err "several keys"
    run 5 sign y.tar.zst --key "pkcs11:token=other?module-path=$SOFTHSM" --passphrase-fd 3 3<<<87654321
    has err "no token fits"
    # tokens that refuse the length, or whose signature is wrong: nothing is added
    if pkg-config --exists p11-kit-1; then
        before=$(sum y.tar.zst)
        for lies in '' -DLIES; do
            # shellcheck disable=SC2046 # flags are words
            cc $lies -shared -fPIC -DSOFTHSM="\"$SOFTHSM\"" $(pkg-config --cflags p11-kit-1) -o "token$lies.so" "$HERE/short_token.c"
        done
        run 1 sign y.tar.zst --key "pkcs11:token=site;object=release?module-path=$WORK/token.so" --passphrase-fd 3 3<<<87654321
        has err "bundle.json is too long for it"
        run 1 sign y.tar.zst --key "pkcs11:token=site;object=release?module-path=$WORK/token-DLIES.so" --passphrase-fd 3 3<<<87654321
        has err "does not fit its own public key"
        [[ $(sum y.tar.zst) == "$before" ]] || fail "a bad token changed the file"
    fi
    run 0 sign y.tar.zst --key "$URI" --passphrase-fd 3 3<<<87654321
    has out "(release)"
    # its public half as PEM, from what pkcs11-tool says of it
    point=$(pkcs11-tool --module $SOFTHSM --token-label site -O --type pubkey --label release 2>/dev/null | sed -n 's/.*EC_POINT: *0420//p')
    printf "$(sed 's/../\\x&/g' <<<"302a300506032b6570032100$point")" | openssl pkey -pubin -inform DER -out release.pub
    run 0 verify y.tar.zst --key release.pub
    has out "release (key"
else
    echo "softhsm2 and opensc are not installed: keys in a token were not tried" >&2
    exit 77
fi
