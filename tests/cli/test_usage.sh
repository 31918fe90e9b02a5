#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Command lines that are wrong, keys, help.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

run 0 --help
golden help
run 0 create --help
golden create-help
run 2 creat
has err "did you mean"
run 2 create --kay x
golden unknown-option
run 2 create
golden no-version
run 2 create --k8s v1.99
has err "there is no release file for v1.99"
run 2 create --k8s latest
has err "write v1.30 or v1.30.14"
run 2 create --lock x.json --k8s v1.30
has err "--lock decides what goes in"
run 1 create --k8s v1.30 --release nosuch.yaml --libexec .
has err "nosuch.yaml"
run 2 create --k8s v1.30 --level 99
run 2 create --json --k8s v1.99
has out '"reason": "unknown_release"'

run 0 keygen one
golden keygen
[[ $(stat -c %a config/kpack/keys/one.key) == 600 ]] || fail "the key's mode"
[[ -f config/kpack/trusted.d/one.pub ]] || fail "the new key is not trusted here"
openssl pkey -pubin -in config/kpack/keys/one.pub -noout || fail "openssl does not read the public key"
id=$(openssl pkey -pubin -in config/kpack/keys/one.pub -outform DER | sha256sum | cut -d' ' -f1)
has out "$(sed -E 's/(.{4})/\1 /g; s/ $//' <<<"$id")"
before=$(sum config/kpack/keys/one.key)
run 2 keygen one
[[ $(sum config/kpack/keys/one.key) == "$before" ]] || fail "keygen wrote over a key"
run 2 keygen ../evil
run 0 keygen two --json
has out '"name": "two"'
run 2 sign nosuch.tar.zst
has err "there are several signing keys"
run 2 sign nosuch.tar.zst --key three
has err "neither a file nor a key"
run 5 verify nosuch.tar.zst
has err "nosuch.tar.zst"
run 2 verify
run 2 extract x.tar.zst
has err "--oci DIR"

# the man page is made of the same tables
run 0 man
has out '.TH kpack 1'
has out 'byte for byte'
