#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The tamper drill on real nodes: a bundle altered between kinstall's check and the transfer, a blob
# altered on the mirror's disk, files, units, plugins and images altered on the nodes, lines of the
# logs edited and cut. Each is caught, and named. Needs root. Run: tests/e2e/audit.sh
# shellcheck disable=SC2016 # single quotes: for the shells of the nodes
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=tests/lib/e2e.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib/e2e.sh"

CLUSTER=audit
BUNDLES=/var/lib/kpack/bundles

with_all() { kinstall "$@" --bundle "$COPY" -i "$WORK/hosts.yaml"; }
node() { "$SITE" run "$1" -- sh -ec "$2"; }
log() { printf '%s' "$WORK/$CLUSTER.state/audit.jsonl"; }

flip() { # FILE OFFSET: one bit of one byte, in place
    local byte
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    # shellcheck disable=SC2059 # the format is the byte
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Where the content of an entry begins in the file, by docs/format.md: "offset_of PATH".
offset_of() {
    local offset=0 path size padded blocks
    while read -r path size; do
        offset=$((offset + 529))
        padded=$(((size + 511) / 512 * 512)) blocks=$(((padded + 131071) / 131072))
        if [[ $path == "$1" ]]; then
            echo $((offset + 17))
            return
        fi
        ((size == 0)) || offset=$((offset + 14 + 3 * blocks + padded))
    done < <(
        echo "bundle.json $(stat -c %s "$WORK/bundle.json")"
        echo "bundle.sig 16384"
        jq -r '.entries[] | "\(.path) \(.size)"' "$WORK/bundle.json"
    )
    fail "no entry $1"
}

test_up() {
    part "two nodes and a bundle"
    shared_bundle
    COPY=$WORK/k8s.tar.zst
    cp "$BUNDLE" "$COPY"
    tar --zstd -xOf "$COPY" bundle.json >"$WORK/bundle.json"
    ID=$(sha256_of "$WORK/bundle.json")
    KUBELET=$(jq -r --arg a "$ARCH" '.files[] | select(.name == "kubelet" and .arch == $a) | .blob' "$WORK/bundle.json")
    KUBELET=${KUBELET#sha256:}
    PLACE=$(($(offset_of "blobs/sha256/$KUBELET") + 100000))
    "$SITE" up --node cp1=10.77.0.11 --node w1=10.77.0.12
    eval "$("$SITE" env)"
    "$SITE" hosts-yaml --cluster "$CLUSTER" >"$WORK/hosts.yaml"
    kinstall trust add "$PUB" >/dev/null
}

# Stopped where the phase mirror begins: the bundle was verified, nothing of it was sent.
test_between() {
    part "a bundle altered between the check and the transfer is refused by the node"
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" --bundle "$COPY" -i "$WORK/hosts.yaml"
    ) </dev/null >"$WORK/out" 2>&1 &
    local run=$!
    soon 60 grep -qs '"event":"phase".*"mirror"' "$WORK/$CLUSTER.state/journal.jsonl" || fail "no phase mirror: $(cat "$WORK/out")"
    kill -STOP "$run"
    node cp1 "! ls $BUNDLES/$ID.tar.zst 2>/dev/null" >/dev/null || fail "the transfer was over already"
    flip "$COPY" "$PLACE"
    kill -CONT "$run"
    CODE=0
    wait "$run" || CODE=$?
    OUTPUT=$(cat "$WORK/out")
    ((CODE == 1 || CODE == 4)) || fail "exit code $CODE: $OUTPUT"
    contains "refused" "$OUTPUT" cp1 kubelet "the bytes do not"
    node cp1 "! ls $BUNDLES/*.tar.zst 2>/dev/null" >/dev/null || fail "an altered bundle was kept"
    refused 4 with_all
    contains "the next run" "$OUTPUT" kubelet
    flip "$COPY" "$PLACE"
}

test_clean() {
    part "installed; the audit finds nothing"
    with_all >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    with_all audit >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    contains "report" "$(cat "$WORK/out")" whole "$ID" "1 of 1"
    part "and nothing on the nodes"
    with_all audit --nodes >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    say "$(grep 'looked at' "$WORK/out" | tr '\n' ' ')"
    with_all audit --nodes --json >"$WORK/report.json" || fail "$(cat "$WORK/report.json")"
    expect "blob of the kubelet" "$KUBELET" "$(jq -r '.nodes[] | select(.name == "cp1") | .files[] | select(.path == "/usr/local/bin/kubelet") | .blob' "$WORK/report.json")"
    ! grep -aq 'PRIVATE KEY' "$(log)" || fail "a secret is in the log"
    expect "mode of the log" 600 "$(stat -c %a "$(log)")"
    part "a second run leaves one run more and nothing placed"
    local before
    before=$(grep -c '"type":"placed"' "$(log)")
    with_all >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    # The nodes' own lines on the head that they were told: one each.
    expect "lines" $((before + 2)) "$(grep -c '"type":"placed"' "$(log)")"
}

# The auditor's way, without any program of ours: docs/security.md.
test_by_hand() {
    part "chain and signatures by sha256sum and openssl"
    local prev line n=0
    prev=$(printf '0%.0s' {1..64})
    while IFS= read -r line; do
        n=$((n + 1))
        expect "prev of line $n" "$prev" "$(jq -r .prev <<<"$line")"
        prev=$(printf '%s' "$line" | sha256sum | cut -d' ' -f1)
    done <"$(log)"
    sed -n '/^```sh line$/,/^```$/{/^```/d;p}' "$TOP/docs/security.md" >"$WORK/line.sh"
    (cd "$WORK" && cp "$(log)" audit.jsonl && bash -euo pipefail line.sh >line.out 2>&1) || fail "the commands of docs/security.md: $(<"$WORK/line.out")"
    contains "verified by hand" "$(<"$WORK/line.out")" "Verified Successfully"
    say "$n lines"
}

blob_from_mirror() { # sets HTTP and the file $WORK/blob
    HTTP=$("$SITE" exec -- curl -s --cacert "$WORK/$CLUSTER.state/mirror-ca.pem" -o "$WORK/blob" -w '%{http_code}' \
        "https://10.77.0.11:5000/blobs/sha256/$KUBELET") || HTTP="$HTTP broken off"
}

test_mirror() {
    part "a byte altered on the mirror's disk: the blob is not served, the node refuses it, the audit names it"
    local file=$BUNDLES/$ID.tar.zst root
    root=${KPACK_LAB_ROOT:-/var/lib/kpack-lab/sites}/$KPACK_LAB_SITE/roots/cp1
    blob_from_mirror
    expect "the blob before" "200 $KUBELET" "$HTTP $(sha256_of "$WORK/blob")"
    # As a failing disk would: size and times stay.
    touch -r "$root$file" "$WORK/times"
    flip "$root$file" "$PLACE"
    touch -r "$WORK/times" "$root$file"
    refused 1 with_all audit --nodes
    contains "audit" "$OUTPUT" "$file" kubelet damaged
    node w1 'rm /usr/local/bin/kubelet'
    refused '1|4' with_all
    contains "fetch" "$OUTPUT" w1 kubelet
    node w1 '! test -e /usr/local/bin/kubelet' || fail "an altered kubelet was placed"
    node cp1 'systemctl restart kregistry'
    sleep 1
    rm -f "$WORK/blob"
    blob_from_mirror
    [[ $HTTP != 200 ]] || fail "the altered blob is served"
    say "the mirror answers: $HTTP"
    flip "$root$file" "$PLACE"
    touch -r "$WORK/times" "$root$file"
    node cp1 'systemctl restart kregistry'
    with_all >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    with_all audit --nodes >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
}

# An image that no bundle brought, made by hand: one layer with one file.
strange_image() {
    mkdir "$WORK/image"
    (
        cd "$WORK/image"
        echo strange >file
        tar --sort=name --mtime=@0 -cf layer.tar file
        printf '{"architecture":"%s","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
            "$ARCH" "$(sha256_of layer.tar)" >config.json
        printf '[{"Config":"config.json","RepoTags":["strange.example/image:1"],"Layers":["layer.tar"]}]' >manifest.json
        tar -cf ../image.tar manifest.json config.json layer.tar
    )
    "$SITE" run w1 -- ctr -n k8s.io images import - <"$WORK/image.tar" >/dev/null
}

test_nodes() {
    part "each thing that is altered on a node is named"
    node cp1 'cd /usr/local/bin; cp -p kubelet k; printf x | dd of=k bs=1 seek=4096 conv=notrunc status=none; mv k kubelet'
    node cp1 'mkdir -p /etc/systemd/system/containerd.service.d; echo "[Service]" >/etc/systemd/system/containerd.service.d/99-own.conf'
    node cp1 'echo "# more" >>/etc/kubernetes/manifests/etcd.yaml'
    node cp1 'echo x >/etc/kpack/mirror/tls.key'
    node w1 'echo "[Service]" >/etc/systemd/system/kubelet.service.d/99-own.conf; chmod 0666 /etc/containerd/config.toml'
    node w1 'mkdir -p /etc/kubernetes/manifests; echo "kind: Nothing" >/etc/kubernetes/manifests/strange.yaml; cp /bin/true /opt/cni/bin/strange; rm /etc/crictl.yaml'
    node w1 'mkdir -p /etc/containerd/certs.d/strange.example; echo >/etc/containerd/certs.d/strange.example/hosts.toml'
    node w1 'echo >>/etc/sysctl.d/90-kpack.conf'
    strange_image
    kpack keygen strange --folder "$WORK/strange" >/dev/null
    "$SITE" run cp1 -- sh -c 'cat >/etc/kpack/trusted.d/strange.pub' <"$WORK/strange/strange.pub"
    node cp1 "echo x >$BUNDLES/strange.tar.zst; echo x >$BUNDLES/strange.tar.zst.verified"
    refused 1 with_all audit --nodes --json
    local wanted what path where
    while read -r where what path; do
        jq -e --arg n "$where" --arg w "$what" --arg p "$path" \
            '.checked[] | select(.name == $n) | .differences[] | select(.what == $w and .path == $p)' <<<"$OUTPUT" >/dev/null ||
            fail "$where: $what $path is not named: $(jq -c '.checked[].differences' <<<"$OUTPUT")"
        wanted=$((${wanted:-0} + 1))
    done <<END
cp1 changed /usr/local/bin/kubelet
cp1 extra /etc/systemd/system/containerd.service.d/99-own.conf
cp1 changed /etc/kubernetes/manifests/etcd.yaml
cp1 changed /etc/kpack/mirror/tls.key
w1 extra /etc/systemd/system/kubelet.service.d/99-own.conf
cp1 extra /etc/kpack/trusted.d/strange.pub
cp1 extra $BUNDLES/strange.tar.zst
cp1 extra $BUNDLES/strange.tar.zst.verified
w1 mode /etc/containerd/config.toml
w1 extra /etc/kubernetes/manifests/strange.yaml
w1 extra /opt/cni/bin/strange
w1 missing /etc/crictl.yaml
w1 extra /etc/containerd/certs.d/strange.example/hosts.toml
w1 changed /etc/sysctl.d/90-kpack.conf
w1 image strange.example/image:1
END
    say "$wanted things, $(jq '[.checked[].differences[]] | length' <<<"$OUTPUT") differences"
    jq -e '[.checked[].differences[] | select(.path | test("own|strange|kubelet|etcd|tls|config.toml|crictl|90-kpack|sha256") | not)] == []' <<<"$OUTPUT" >/dev/null ||
        fail "more than was altered: $(jq -c '.checked[].differences' <<<"$OUTPUT")"
}

test_logs() {
    part "an edited line, a cut log, a cut log of a node: each is named"
    cp -p "$(log)" "$WORK/log"
    sed -i '3s/"0755"/"4755"/;3s/w1/w9/;3s/cp1/cp9/' "$(log)"
    ! cmp -s "$(log)" "$WORK/log" || fail "line 3 was not changed"
    refused 1 with_all audit
    contains "edited" "$OUTPUT" broken "line 3"
    head -n -3 "$WORK/log" >"$(log)"
    refused 1 with_all audit
    contains "cut" "$OUTPUT" cut
    cp -p "$WORK/$CLUSTER.state/audit.head" "$WORK/head"
    rm "$WORK/$CLUSTER.state/audit.head"
    head -n 20 "$WORK/log" >"$(log)"
    with_all audit >/dev/null 2>&1 || true # alone it cannot know
    refused 1 with_all audit --nodes
    contains "the nodes know" "$OUTPUT" "it is not there"
    cp -p "$WORK/log" "$(log)"
    cp -p "$WORK/head" "$WORK/$CLUSTER.state/audit.head"
    node w1 'sed -i "\$d" /var/lib/kpack/placed.jsonl'
    refused 1 with_all audit --nodes
    contains "the node's log" "$OUTPUT" w1 placed.jsonl "was cut"
}

# What a site loses (a disk, a folder) is on the nodes still: each line signed where it was placed.
# That the rest of the log is lost stays visible: the nodes were told of its lines.
test_lost() {
    part "the site's log is lost: the next run fetches what the nodes have signed"
    placed_on_cp1 >"$WORK/before"
    rm "$(log)"
    refused 1 with_all audit
    contains "a log that is gone" "$OUTPUT" audit.jsonl "next run"
    with_all >"$WORK/out" 2>&1 || fail "$(tail -n 30 "$WORK/out")"
    placed_on_cp1 >"$WORK/after"
    [[ -s $WORK/before ]] || fail "the log named no path of cp1"
    [[ -z $(comm -23 "$WORK/before" "$WORK/after") ]] || fail "not fetched: $(comm -23 "$WORK/before" "$WORK/after")"
    refused 1 with_all audit --nodes
    contains "lines that are lost" "$OUTPUT" "the node was told of line" "it is not there"
}

# What cannot be had back is owned up to, once, by name; it stands in every audit, and nothing else is forgiven.
# What test_nodes has put on the nodes; a run has mended what was kinstall's own.
take_strange_away() {
    local name
    node cp1 "rm /etc/systemd/system/containerd.service.d/99-own.conf /etc/kpack/trusted.d/strange.pub $BUNDLES/strange.tar.zst*"
    node w1 'rm -r /etc/systemd/system/kubelet.service.d/99-own.conf /etc/kubernetes/manifests/strange.yaml /opt/cni/bin/strange /etc/containerd/certs.d/strange.example'
    refused 1 with_all audit --nodes --json
    for name in $(jq -r '.checked[] | select(.name == "w1") | .differences[] | select(.what == "image") | .path' <<<"$OUTPUT"); do
        node w1 "ctr -n k8s.io images rm $name >/dev/null"
    done
}

test_acknowledge() {
    part "audit acknowledge: who and why, in the log; the audit is green again, and says so"
    local lines
    lines=$(wc -l <"$(log)")
    take_strange_away
    refused 2 with_all audit acknowledge --yes
    contains "no reason" "$OUTPUT" --reason
    refused 2 with_all audit acknowledge --reason "the disk of the admin host died"
    expect "the end of a run that was refused" stopped "$(grep -a '"type":"end"' "$(log)" | tail -n 1 | jq -r .result)"
    contains "not confirmed" "$OUTPUT" --yes
    refused 1 with_all audit --nodes
    with_all audit acknowledge --reason "the disk of the admin host died" --yes >"$WORK/out" 2>&1 || fail "$(tail -n 30 "$WORK/out")"
    contains "acknowledge" "$(cat "$WORK/out")" "the node was told of line" "acknowledged"
    with_all audit --nodes >"$WORK/out" 2>&1 || fail "not green: $(cat "$WORK/out")"
    contains "audit" "$(cat "$WORK/out")" "owned up" "the disk of the admin host died" "0 differences"
    expect "who" "$(id -un)@$(hostname)" "$(jq -r 'select(.type == "acknowledged") | .who' "$(log)")"
    with_all audit acknowledge --reason again --yes >"$WORK/out" 2>&1 || fail "$(cat "$WORK/out")"
    contains "again" "$(cat "$WORK/out")" "nothing to acknowledge"
    part "what is lost after that is red again"
    sed -i "$((lines + 1)),\$d" "$(log)"
    with_all >"$WORK/out" 2>&1 || fail "$(tail -n 30 "$WORK/out")"
    refused 1 with_all audit --nodes
    contains "lost again" "$OUTPUT" "the node was told of line"
}

placed_on_cp1() { jq -r 'select(.type == "placed" and .node == "cp1") | .placed | fromjson | .path // empty' "$(log)" | sort -u; }

e2e_begin audit
test_up
test_between
test_clean
test_by_hand
test_mirror
test_nodes
test_logs
test_lost
test_acknowledge
part end
