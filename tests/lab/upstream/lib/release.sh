# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What kpack is told about this upstream: a release file with the real names and this upstream's
# checksums and digests, and a mirrors file that points the real names here.

# Hosts that optional groups have files of, and the registries: all are here under their own names.
WEB_HOSTS=(get.helm.sh helm.cilium.io raw.githubusercontent.com)
REGISTRIES=(registry.k8s.io docker.io quay.io ghcr.io)

# release_template: the template with the parts of the chosen groups, templates/groups/NAME.PART.in, in their places
release_template() {
    local line addons
    addons=$(group_parts addons)
    while IFS= read -r line; do
        case $line in
            "@GROUPS release@") group_parts release ;;
            "@GROUPS files@") group_parts files ;;
            "@GROUPS runtimes@") group_parts runtimes ;;
            "@GROUPS networks@") group_parts networks ;;
            "@ADDONS@") if [[ -n $addons ]]; then printf '    addons:\n%s\n' "$addons"; else echo '    addons: {}'; fi ;;
            *) printf '%s\n' "$line" ;;
        esac
    done <"$HERE/templates/release.yaml.in"
}

group_parts() {
    local name file
    for name in "${WITH_GROUPS[@]}"; do
        file=$HERE/templates/groups/$name.$1.in
        [[ ! -f $file ]] || cat "$file"
    done
}

# release_url_file URL: where the file of that URL lies in the cache
release_url_file() {
    local path=web/${1#https://} name folder
    path=${path/#web\/dl.k8s.io\//dl/}
    path=${path/#web\/github.com\//github/}
    for name in "" "${WITH_GROUPS[@]}"; do
        folder=$(if [[ -n $name ]]; then group_files_dir "$name"; else files_dir; fi)
        [[ ! -f $folder/$path ]] || echo "$folder/$path"
    done | sed -n 1p
}

# Fills templates/release.yaml.in for $UPSTREAM_K8S: @REF@ and @DIGEST@ from the image named on the
# line, @SHA256@ from the file that the url above it names.
release_entry() {
    local line name="" version="" url="" tag k8s_minor=${UPSTREAM_K8S%.*} api=v1beta3 file containerd_config=2 runtime
    ((${k8s_minor#1.} <= 30)) || api=v1beta4
    [[ $(component_version containerd) == 1.* ]] || containerd_config=3
    runtime=$(component_version containerd)
    runtime=containerd-${runtime%.*}
    while IFS= read -r line; do
        line=${line//@K8S@/$UPSTREAM_K8S}
        line=${line//@KUBEADM_API@/$api}
        line=${line//@CONTAINERD_CONFIG@/$containerd_config}
        line=${line//@RUNTIME@/$runtime}
        line=${line//@CONTAINERD@/$(component_version containerd)}
        line=${line//@RUNC@/$(component_version runc)}
        line=${line//@CRICTL@/$(component_version crictl)}
        line=${line//@CNI_PLUGINS@/$(component_version cni-plugins)}
        line=${line//@ETCD@/$(component_version etcd)}
        line=${line//@FLANNEL@/$(component_version flannel)}
        while [[ $line =~ @VERSION\ ([a-z0-9-]+)@ ]]; do
            tag=${BASH_REMATCH[0]}
            line=${line//"$tag"/$(component_version "${BASH_REMATCH[1]}")}
        done
        while [[ $line =~ @DIGEST\ ([a-z0-9-]+)@ ]]; do
            tag=${BASH_REMATCH[0]}
            line=${line//"$tag"/$(image_index_digest "${BASH_REMATCH[1]}")}
        done
        [[ ! $line =~ name:\ ([a-z0-9-]+),\ ref ]] || name=${BASH_REMATCH[1]}
        [[ ! $line =~ version:\ \"([^\"]+)\" ]] || version=${BASH_REMATCH[1]}
        [[ ! $line =~ url:\ (.+)$ ]] || url=${BASH_REMATCH[1]}
        if [[ $line == *@REF@* ]]; then
            line=${line//@REF@/$(image_ref "$name")}
            line=${line//@DIGEST@/$(image_index_digest "$name")}
        fi
        if [[ $line == *@SHA256@* ]]; then
            url=${url//\{version\}/$version}
            url=${url//\{arch\}/amd64}
            file=$(release_url_file "$url")
            [[ -f $file ]] || die "the template names $url, which is not built: run 'up' or 'build' first"
            line=${line//@SHA256@/$(sha256_of "$file")}
        fi
        printf '%s\n' "$line"
    done < <(release_template)
}

cmd_release_file() {
    local out=$1 version minor=${K8S_VERSIONS[0]%.*}
    for version in "${K8S_VERSIONS[@]}"; do
        [[ ${version%.*} == "$minor" ]] || die "a release file is for one minor version: $minor or ${version%.*}, not both"
    done
    {
        echo "# Written by tests/lab/upstream: the lab's own builds under the real names, amd64 only."
        printf 'kind: kpack.release/v1\nminor: "%s"\ndefault: "%s"\nreleases:\n' "$minor" \
            "$(printf '%s\n' "${K8S_VERSIONS[@]}" | sort -V | tail -n 1)"
        for version in "${K8S_VERSIONS[@]}"; do
            UPSTREAM_K8S=$version
            release_entry
        done
    } >"$out.partial"
    mv "$out.partial" "$out"
}

# The CA and the password are copied beside the mirrors file, which names them relative to itself.
cmd_mirrors_file() {
    local out=$1 folder name host
    folder=$(dirname "$out")
    name=$(basename "$out" .yaml)
    [[ -f $UPSTREAM_DIR/tls/ca.pem ]] || die "no certificates yet: run 'up' first"
    cp "$UPSTREAM_DIR/tls/ca.pem" "$folder/$name-ca.pem"
    install -m 0600 "$UPSTREAM_DIR/password" "$folder/$name-password"
    cat >"$out.partial" <<END
# Written by tests/lab/upstream: the real names, answered on loopback.
kind: kpack.mirrors/v1
mirrors:
  - {from: "https://dl.k8s.io/", to: "https://dl.localhost:$UPSTREAM_PORT/", ca: $name-ca.pem}
  - {from: "https://github.com/", to: "https://github.localhost:$UPSTREAM_PORT/", ca: $name-ca.pem}
$(for host in "${WEB_HOSTS[@]}"; do echo "  - {from: \"https://$host/\", to: \"https://web.localhost:$UPSTREAM_PORT/$host/\", ca: $name-ca.pem}"; done)
$(for host in "${REGISTRIES[@]}"; do echo "  - {from: \"$host\", to: \"$REGISTRY/$host\", ca: $name-ca.pem}"; done)
  - {from: "private.example", to: "$REGISTRY/private", ca: $name-ca.pem, username: lab, password_file: $name-password, realms: ["auth.localhost:$UPSTREAM_PORT"]}
END
    mv "$out.partial" "$out"
}

cmd_env() {
    local name
    printf 'UPSTREAM_DIR=%q\nUPSTREAM_CA=%q\nUPSTREAM_REGISTRY=%q\nUPSTREAM_PORT=%q\n' "$UPSTREAM_DIR" \
        "$UPSTREAM_DIR/tls/ca.pem" "$REGISTRY" "$UPSTREAM_PORT"
    printf 'UPSTREAM_USER=lab\nUPSTREAM_PASSWORD_FILE=%q\nUPSTREAM_DOCKER_CONFIG=%q\nUPSTREAM_FAULT=%q\n' "$UPSTREAM_DIR/password" \
        "$UPSTREAM_DIR/docker" "https://fault.localhost:$UPSTREAM_PORT"
    printf 'UPSTREAM_K8S=%q\nUPSTREAM_IMAGES_DIR=%q\nUPSTREAM_FILES_DIR=%q\n' "${K8S_VERSIONS[*]}" "$UPSTREAM_CACHE/images" "$(files_dir)"
    for name in crane oras registry kubectl kubeadm upstreamd hello; do
        printf '%s=%q\n' "${name^^}" "$(component_dir "$name")/$name"
    done | sed 's,/hello$,/hello-amd64,'
    for name in containerd ctr; do
        printf '%s=%q\n' "${name^^}" "$(component_dir containerd)/$name"
    done
    for name in etcd etcdctl etcdutl; do
        printf '%s=%q\n' "${name^^}" "$(component_dir etcd)/$name"
    done
    printf 'RUNC=%q\nCRICTL_STAND_IN=%q\n' "$(component_dir runc)/runc" "$(component_dir crictl)/crictl"
}
