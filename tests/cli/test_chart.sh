#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kpack create with charts, add-ons and networks of one's own. Helm is a script here that shows what it was
# given and what it can reach; the real one runs in tests/e2e/networks.sh.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"
make_upstream
make_image quay.io/x/agent 2 >agent.digest
make_image quay.io/x/operator 2 >/dev/null

# The program says in comments what it sees; the chart's own objects come after.
mkdir -p linux-amd64
cat >linux-amd64/helm <<'END'
#!/bin/bash
chart=''
for word; do [[ $word != *.tgz ]] || chart=$word; done
[[ $1 == template ]] || exit 9
echo ---
args=$*
echo "# args ${args//${HOME%/home}/DIR}"
sed --version 2>/dev/null || echo "# no programs"
echo "# env ${HELM_PLUGINS//${HOME%/home}/DIR} ${KPACK_SECRET-no secret}"
(: </dev/tcp/127.0.0.1/9) 2>/dev/null || echo "# no network"
while (($#)); do
    [[ $1 != --values ]] || echo "# values $(<"$2")"
    shift
done
PATH=/usr/bin:/bin tar -xzOf "$chart" app/objects.yaml
[[ ! -f $HOME/again ]] || exit 0
END
chmod +x linux-amd64/helm
tar --owner=0 --group=0 --mtime=@0 -czf www/dl/helm-3.tgz linux-amd64
make_chart() { # FILE
    mkdir -p app && cat >app/objects.yaml
    tar --owner=0 --group=0 --mtime=@0 -czf "$1" app
}
make_chart www/dl/net-1.0.tgz <<'END'
---
kind: DaemonSet
metadata:
  name: agent
spec:
  template:
    spec:
      containers:
      - name: agent
        image: quay.io/x/agent:2@AGENT
        args: [--operator=quay.io/x/operator:2, --pods=10.244.0.0/16]
---
kind: Job
metadata:
  name: cleanup
  annotations: {"helm.sh/hook": pre-delete}
END
sed -i "s/@AGENT/@$(<agent.digest)/" app/objects.yaml
tar --owner=0 --group=0 --mtime=@0 -czf www/dl/net-1.0.tgz app
cat >www/dl/multi-4.yml <<'END'
kind: DaemonSet
spec: {template: {spec: {containers: [{image: "quay.io/x/extra:snapshot"}]}}}
END
cp release.yaml plain.yaml
sed -i -e '/^    networks:/i\
    helm: {version: "3", url: "https://dl.k8s.io/helm-{version}.tgz", sha256: {amd64: SUM, arm64: SUM}, member: "linux-amd64/helm"}' \
    -e '/^    networks:/a\
      charted:\
        version: "1.0"\
        charts:\
          - name: net\
            url: https://dl.k8s.io/net-{version}.tgz\
            namespace: kube-system\
            values: {tunnel: vxlan, mtu: 1450}\
            replace: [{find: "10.244.0.0/16", with: pods}]\
            wait: [{kind: daemonset, namespace: kube-system, name: agent}]' release.yaml
sed -i "s/SUM/$(sum www/dl/helm-3.tgz)/g" release.yaml
cat >addon <<'END'
      multi:
        version: "4"
        phase: network
        images: [{name: multi, ref: "quay.io/x/extra:1", roles: [worker]}]
        manifests:
          - {name: multi, url: "https://dl.k8s.io/multi-{version}.yml", edit: [{find: "extra:snapshot", put: "extra:1"}]}
END
sed -i '/^    addons:/r addon' release.yaml
BUNDLE=k8s-v1.30.2-charted-amd64.tar.zst
LOCK=${BUNDLE%.tar.zst}.lock.json
ARGS=(--k8s v1.30 --release release.yaml --arch amd64)

# what is rendered is carried, and its images: of arguments too, by digest where the chart says one
KPACK_SECRET=hidden create 0 "${ARGS[@]}" --network charted --with multi
golden create
run 0 list --json "$BUNDLE"
jq -r '.images[] | select(.reference | startswith("quay.io")) | "\(.reference) \(.why)"' out | sort >images
cat >wanted <<'END'
quay.io/x/agent:2 network charted
quay.io/x/extra:1 network multi
quay.io/x/operator:2 network charted
END
diff -u wanted images >&2 || fail "images of the rendered chart"
[[ $(jq -r '.images[] | select(.reference == "quay.io/x/agent:2").digest' out) == *"$(cut -d: -f2 agent.digest)" ]] || fail "the chart's digest was not kept"
jq -r '.manifests[] | select(.name == "net" or .name == "multi") | "\(.name) \(.why)"' "$LOCK" >seen
printf 'net network charted\nmulti network multi\n' | diff -u - seen >&2 || fail "manifests of the lock"
RENDERED=$(jq -r '.manifests[] | select(.name == "net").sha256' "$LOCK")
TEXT=$(find cache -name "$RENDERED" -exec cat {} +)
for word in 'namespace: kube-system' '# no network' '# no programs' '# env DIR/home/none no secret' '--kube-version v1.30.2' 'template net DIR/chart.tgz --namespace kube-system --include-crds --skip-tests' '"tunnel":"vxlan"'; do
    grep -qF -e "$word" <<<"${TEXT//\": \"/\":\"}" || fail "not in the rendered text: $word: $TEXT"
done
! grep -q cleanup <<<"$TEXT" || fail "a hook of the deletion was carried"
EDITED=$(jq -r '.manifests[] | select(.name == "multi").sha256' "$LOCK")
[[ $(find cache -name "$EDITED" -exec grep -c 'extra:1"' {} +) == 1 ]] || fail "the edited manifest"

# the same lock, the same bytes: cached, and rendered again from nothing
create 0 --lock "$LOCK" -o again.tar.zst
same "$BUNDLE" again.tar.zst
create 0 --lock "$LOCK" -o cold.tar.zst --cache cold
same "$BUNDLE" cold.tar.zst
[[ -z $(find cold/partial -mindepth 1) ]] || fail "helm's folder was left"

# one image taken out of the lock on purpose
jq '.images |= map(select(.reference != "quay.io/x/operator:2"))' "$LOCK" >less.json
create 5 --lock less.json -o less.tar.zst
has err "quay.io/x/operator:2 is not in the bundle"
# and out of the release's list, where the manifest is a plain one
sed '/ref: "quay.io\/x\/extra:1"/d' release.yaml >less.yaml
create 5 --k8s v1.30 --release less.yaml --arch amd64 --with multi -o less.tar.zst
has err "quay.io/x/extra:1 is not in the bundle"

# another rendering than the lock's is an error where the cache does not have it
jq '(.manifests[] | select(.name == "net")).made.values += ["more: 1"]' "$LOCK" >other.json
create 1 --lock other.json -o other.tar.zst --cache other
has err "net: what is rendered now is not sha256"

# a plain manifest whose images are taken from it
sed 's/images: \[{name: multi, .*/images: []/; s/{name: multi, url/{name: multi, take_images: true, url/' release.yaml >take.yaml
create 0 --k8s v1.30 --release take.yaml --arch amd64 --with multi -o take.tar.zst
jq -e '.images[] | select(.reference == "quay.io/x/extra:1" and .why == "network multi")' take.lock.json >/dev/null || fail "the manifest's image"

# the user's own chart, and values for it and for the network's
make_chart app-2.1.0.tgz <<'END'
---
kind: Deployment
metadata: {name: app}
spec: {template: {spec: {containers: [{image: "quay.io/x/extra:1"}]}}}
END
echo 'replicas: 3' >v.yaml
create 0 "${ARGS[@]}" --chart shop/front=app-2.1.0.tgz --values front=v.yaml -o own.tar.zst
jq -e '.manifests[] | select(.name == "front") | .made.namespace == "shop" and .made.values == ["replicas: 3\n"] and .url == "file:app-2.1.0.tgz"' own.lock.json >/dev/null || fail "the user's chart in the lock"
TEXT=$(find cache -name "$(jq -r '.manifests[] | select(.name == "front").sha256' own.lock.json)" -exec cat {} +)
grep -q '^kind: Namespace' <<<"$TEXT" || fail "the namespace is missing: $TEXT"
create 0 --lock own.lock.json --chart app-2.1.0.tgz -o own2.tar.zst --cache own
same own.tar.zst own2.tar.zst
create 0 "${ARGS[@]}" --network charted --values v.yaml -o values.tar.zst
[[ $(jq '.manifests[] | select(.name == "net").made.values | length' values.lock.json) == 2 ]] || fail "values for the network's chart"

# what is wrong is said
create 2 "${ARGS[@]}" --values v.yaml
has err "for which chart? Write CHART=FILE"
create 2 "${ARGS[@]}" --chart app.yaml
has err "a packaged chart is needed"
create 2 "${ARGS[@]}" --chart a/B=app-2.1.0.tgz
has err "is no name"
create 2 "${ARGS[@]}" --with nothing
has err "has no add-on 'nothing'; it has multi"
create 2 --k8s v1.30 --release plain.yaml --arch amd64 --chart app-2.1.0.tgz
has err "names no helm"
create 2 --lock "$LOCK" --values v.yaml
has err "--lock decides"
make_chart www/dl/net-1.0.tgz <<'END'
--- [
END
create 2 "${ARGS[@]}" --network charted
has err "net:"
sed 's/extra:snapshot/extra:other/' release.yaml >edit.yaml
create 1 --k8s v1.30 --release edit.yaml --arch amd64 --with multi
has err "the text \"extra:other\" is not in it"
# helm's own words
make_chart www/dl/net-1.0.tgz <<'END'
---
kind: ConfigMap
data: {pods: 10.244.0.0/16}
END
sed -i 's/^\[\[ ! -f .*/echo "no such value" >\&2; exit 4/' linux-amd64/helm
tar --owner=0 --group=0 --mtime=@0 -czf www/dl/helm-3.tgz linux-amd64
sed -i "s/amd64: [0-9a-f]*, arm64: [0-9a-f]*}, member/amd64: $(sum www/dl/helm-3.tgz), arm64: $(sum www/dl/helm-3.tgz)}, member/" release.yaml
create 1 "${ARGS[@]}" --network charted
has err "failed (exit 4): no such value"

# a chart that is another each time is told
sed -i -e 's/^echo "no such value".*/echo "# $RANDOM$RANDOM$RANDOM"/' linux-amd64/helm
tar --owner=0 --group=0 --mtime=@0 -czf www/dl/helm-3.tgz linux-amd64
sed -i "s/amd64: [0-9a-f]*, arm64: [0-9a-f]*}, member/amd64: $(sum www/dl/helm-3.tgz), arm64: $(sum www/dl/helm-3.tgz)}, member/" release.yaml
create 0 "${ARGS[@]}" --network charted -o unsteady.tar.zst
has err "renders differently each time"

# a network of one's own, with the same proof
cat >mine.yaml <<'END'
kind: DaemonSet
spec: {template: {spec: {containers: [{image: "quay.io/x/extra:1"}]}}}
END
create 5 "${ARGS[@]}" --network-manifest mine.yaml
has err "quay.io/x/extra:1 is not in the bundle"
create 0 "${ARGS[@]}" --network-manifest mine.yaml --image quay.io/x/extra:1
[[ $(jq -r .network k8s-v1.30.2-custom-amd64.lock.json) == custom ]] || fail "the network's name"
[[ $(jq -r '.manifests[0].why' k8s-v1.30.2-custom-amd64.lock.json) == "network custom" ]] || fail "why"
create 2 "${ARGS[@]}" --network flannel --network-manifest mine.yaml
has err "is one of the release"
# seen own-chart rendered
