# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Container images made of the built components, each an OCI image layout in the cache that holds
# one index. Layers are deterministic (owner 0, time 0, sorted), so digests stay as long as the
# programs do. The kube-* ones are docker manifest lists, as registry.k8s.io has them; the others
# are OCI indexes with an attestation child, as builders make them today.

IMAGES=(kube-apiserver kube-controller-manager kube-scheduler kube-proxy pause coredns etcd flannel flannel-cni-plugin haproxy hello)

image_ref() {
    case $1 in
        kube-*) echo "registry.k8s.io/$1:v$UPSTREAM_K8S" ;;
        pause) echo "registry.k8s.io/pause:$(component_version pause)" ;;
        coredns) echo "registry.k8s.io/coredns/coredns:v$(component_version coredns)" ;;
        etcd) echo "registry.k8s.io/etcd:$(component_version etcd)-0" ;;
        flannel | flannel-cni-plugin) echo "docker.io/flannel/$1:v$(component_version "$1")" ;;
        haproxy) echo "docker.io/library/haproxy:$(component_version haproxy)" ;;
        hello) echo "docker.io/kpacklab/hello:1" ;;
        *) echo "${IMAGE_REF[$1]}" ;;
    esac
}

image_style() {
    if [[ $1 == kube-* ]]; then echo docker; else echo oci; fi
}

image_base() {
    case $1 in
        kube-proxy | flannel | flannel-cni-plugin) echo debian-base ;;
        *) echo "${IMAGE_BASE[$1]:-}" ;;
    esac
}

image_arches() {
    if [[ $1 == hello ]]; then echo amd64 arm64; else echo amd64; fi
}

# image_fill NAME ARCH ROOT: the files of the image's own layer.
image_fill() {
    local name=$1 arch=$2 root=$3 from=""
    [[ $(type -t "fill_$name") == function ]] || from=$(component_dir "$name")
    case $name in
        kube-*) install -D -m 0755 "$from/$name" "$root/usr/local/bin/$name" ;;
        pause) install -D -m 0755 "$from/pause" "$root/pause" ;;
        coredns)
            install -D -m 0755 "$from/coredns" "$root/coredns"
            setcap cap_net_bind_service=+ep "$root/coredns"
            ;;
        etcd) install -D -m 0755 -t "$root/usr/local/bin" "$from"/{etcd,etcdctl,etcdutl} ;;
        flannel) install -D -m 0755 -t "$root/opt/bin" "$from"/{flanneld,install-conf} ;;
        flannel-cni-plugin) install -D -m 0755 "$from/flannel" "$root/flannel" ;;
        haproxy) cp -a "$from/root/." "$root/" ;;
        hello) install -D -m 0755 "$from/hello-$arch" "$root/hello" ;;
        *) "fill_$name" "$root" ;;
    esac
    [[ -z $(image_base "$name") && $name != pause ]] || return 0
    mkdir -p "$root/etc"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
    mkdir -m 1777 "$root/tmp"
}

# image_config NAME: what runs, and as whom, as in the real image.
image_config() {
    local entrypoint user="" path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    case $1 in
        kube-*) entrypoint=$1 ;;
        pause) entrypoint=/pause user=65535:65535 ;;
        coredns) entrypoint=/coredns user=nonroot:nonroot ;;
        etcd) entrypoint=/usr/local/bin/etcd ;;
        flannel) entrypoint=/opt/bin/flanneld ;;
        flannel-cni-plugin) entrypoint=/flannel ;;
        haproxy) entrypoint=haproxy user=99:99 ;;
        hello) entrypoint=/hello user=65532:65532 ;;
        *) entrypoint=${IMAGE_ENTRYPOINT[$1]:-} user=${IMAGE_USER[$1]:-} ;;
    esac
    jq -cn --arg e "$entrypoint" --arg u "$user" --arg p "PATH=$path" \
        '{Env: [$p], Entrypoint: (if $e == "" then null else [$e] end), WorkingDir: "/", Labels: {"org.opencontainers.image.vendor": "kpack lab"}} + if $u == "" then {} else {User: $u} end'
}

image_digest() {
    local name=$1 base
    base=$(image_base "$name")
    {
        declare -f image_fill image_config image_style image_layer image_child image_attestation blob_add media_type
        if [[ $(type -t "fill_$name") == function ]]; then
            group_image_inputs "$name"
        else
            basename "$(component_dir "$name")" "${base:+$(component_dir "$base")}"
        fi
        image_ref "$name"
    } | sha256sum | cut -c1-12
}

# group_image_inputs NAME: an image of a group is made of its own function and components of the group.
group_image_inputs() {
    local name=$1 group component
    declare -f "fill_$name"
    echo "${IMAGE_ENTRYPOINT[$name]:-} ${IMAGE_USER[$name]:-} ${IMAGE_BASE[$name]:-}"
    for group in "${!GROUP_IMAGES[@]}"; do
        [[ " ${GROUP_IMAGES[$group]} " == *" $name "* ]] || continue
        for component in ${GROUP_COMPONENTS[$group]}; do
            component_dir "$component"
        done
    done | sed 's,.*/,,'
}

image_dir() {
    local version=${IMAGE_REF[$1]:-}
    version=${version##*:}
    echo "$UPSTREAM_CACHE/images/$1-${version:-$(component_version "$1")}-$(image_digest "$1")"
}

media_type() {
    case $1-$2 in
        oci-index) echo application/vnd.oci.image.index.v1+json ;;
        oci-manifest) echo application/vnd.oci.image.manifest.v1+json ;;
        oci-config) echo application/vnd.oci.image.config.v1+json ;;
        oci-layer) echo application/vnd.oci.image.layer.v1.tar+gzip ;;
        docker-index) echo application/vnd.docker.distribution.manifest.list.v2+json ;;
        docker-manifest) echo application/vnd.docker.distribution.manifest.v2+json ;;
        docker-config) echo application/vnd.docker.container.image.v1+json ;;
        docker-layer) echo application/vnd.docker.image.rootfs.diff.tar.gzip ;;
        *) die "media_type $1 $2?" ;;
    esac
}

# blob_add LAYOUT FILE TYPE: moves the file in among the blobs; prints its descriptor.
blob_add() {
    local digest size
    digest=$(sha256_of "$2")
    size=$(stat -c %s "$2")
    mkdir -p "$1/blobs/sha256"
    mv "$2" "$1/blobs/sha256/$digest"
    jq -cn --arg t "$3" --arg d "sha256:$digest" --argjson s "$size" '{mediaType: $t, digest: $d, size: $s}'
}

image_layer() {
    tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=posix \
        --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' \
        --xattrs --xattrs-include=security.capability -C "$1" -cf - . | gzip -n -6 >"$2"
}

# image_child NAME ARCH LAYOUT: adds one architecture's image; prints its descriptor.
image_child() {
    local name=$1 arch=$2 layout=$3 style base root layers=() diff_ids=() file config manifest
    style=$(image_style "$name")
    base=$(image_base "$name")
    root=$layout/tmp-root-$arch
    mkdir "$root"
    image_fill "$name" "$arch" "$root"
    [[ -z $base ]] || cp "$(component_dir "$base")/base.tar.gz" "$layout/tmp-0.tar.gz"
    image_layer "$root" "$layout/tmp-1.tar.gz"
    for file in "$layout"/tmp-[01].tar.gz; do
        diff_ids+=("sha256:$(gzip -dc "$file" | sha256sum | cut -d' ' -f1)")
        layers+=("$(blob_add "$layout" "$file" "$(media_type "$style" layer)")")
    done
    rm -rf "$root"
    jq -cn --arg arch "$arch" --argjson config "$(image_config "$name")" '{created: "1970-01-01T00:00:00Z", architecture: $arch, os: "linux",
        config: $config, rootfs: {type: "layers", diff_ids: $ARGS.positional}}' --args "${diff_ids[@]}" >"$layout/tmp-config"
    config=$(blob_add "$layout" "$layout/tmp-config" "$(media_type "$style" config)")
    printf '%s\n' "${layers[@]}" | jq -cs --arg t "$(media_type "$style" manifest)" --argjson config "$config" \
        '{schemaVersion: 2, mediaType: $t, config: $config, layers: .}' >"$layout/tmp-manifest"
    manifest=$(blob_add "$layout" "$layout/tmp-manifest" "$(media_type "$style" manifest)")
    jq -c --arg arch "$arch" '. + {platform: {architecture: $arch, os: "linux"}}' <<<"$manifest"
}

# image_attestation NAME LAYOUT CHILD: adds what a builder states about that child; prints its descriptor.
image_attestation() {
    local name=$1 layout=$2 subject=$3 statement config manifest
    jq -cn --arg name "$(image_ref "$name")" --arg digest "${subject#sha256:}" '{_type: "https://in-toto.io/Statement/v0.1",
        predicateType: "https://slsa.dev/provenance/v0.2", subject: [{name: $name, digest: {sha256: $digest}}],
        predicate: {builder: {id: "kpack-lab"}, buildType: "https://kpack.lab/upstream"}}' >"$layout/tmp-statement"
    statement=$(blob_add "$layout" "$layout/tmp-statement" application/vnd.in-toto+json)
    jq -cn --arg diff "$(jq -r .digest <<<"$statement")" '{architecture: "unknown", os: "unknown", config: {},
        rootfs: {type: "layers", diff_ids: [$diff]}}' >"$layout/tmp-config"
    config=$(blob_add "$layout" "$layout/tmp-config" "$(media_type oci config)")
    jq -cn --arg t "$(media_type oci manifest)" --argjson config "$config" --argjson layer "$statement" '{schemaVersion: 2, mediaType: $t, config: $config,
        layers: [$layer + {annotations: {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}}]}' >"$layout/tmp-manifest"
    manifest=$(blob_add "$layout" "$layout/tmp-manifest" "$(media_type oci manifest)")
    jq -c --arg d "$subject" '. + {platform: {architecture: "unknown", os: "unknown"},
        annotations: {"vnd.docker.reference.digest": $d, "vnd.docker.reference.type": "attestation-manifest"}}' <<<"$manifest"
}

image_build() {
    local name=$1 dir style layout arch child children=() extra=()
    dir=$(image_dir "$name")
    [[ ! -d $dir ]] || return 0
    style=$(image_style "$name")
    layout=$dir.partial
    rm -rf "$layout"
    mkdir -p "$layout"
    for arch in $(image_arches "$name"); do
        child=$(image_child "$name" "$arch" "$layout")
        children+=("$child")
        [[ $style != oci ]] || extra+=("$(image_attestation "$name" "$layout" "$(jq -r .digest <<<"$child")")")
    done
    printf '%s\n' "${children[@]}" "${extra[@]}" | jq -cs --arg t "$(media_type "$style" index)" \
        '{schemaVersion: 2, mediaType: $t, manifests: .}' >"$layout/tmp-index"
    child=$(blob_add "$layout" "$layout/tmp-index" "$(media_type "$style" index)")
    jq -cn --argjson d "$child" '{schemaVersion: 2, manifests: [$d]}' >"$layout/index.json"
    echo '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    mv "$layout" "$dir"
}

all_images() {
    printf '%s\n' "${IMAGES[@]}"
    group_images
}

build_images() {
    local name began
    for name in $(all_images); do
        [[ ! -d $(image_dir "$name") ]] || continue
        began=$EPOCHSECONDS
        image_build "$name"
        printf '%-30s %-21s %4d s\n' "image $name" "$(image_ref "$name" | sed 's,.*:,,')" $((EPOCHSECONDS - began)) >&2
    done
}

# image_index_digest NAME: the digest that a pull by tag gives.
image_index_digest() {
    jq -r '.manifests[0].digest' "$(image_dir "$1")/index.json"
}
