# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034 # some text is for another shell; UPSTREAM_K8S is read by other parts
#
# The running upstream: nginx, the token server and the registry, all on loopback, each known by
# pid and start time in $UPSTREAM_DIR/run.

SERVICES=(upstreamd nginx registry)
HOST_NAMES=(dl cdn github objects auth blobs fault registry web)
REGISTRY=registry.localhost:$UPSTREAM_REGISTRY_PORT

# The CA outlives a server's certificate: who trusts it need not be told anew.
certificates() {
    local tls=$UPSTREAM_DIR/tls
    {
        [[ -f $tls/ca.key && -f $tls/token.pem ]] || authority "$tls"
        has_all_names "$tls/server.pem" || server_certificate "$tls"
    } 2>"$UPSTREAM_DIR/log/openssl.log" || die "openssl could not make the certificates: see $UPSTREAM_DIR/log/openssl.log"
}

authority() {
    rm -rf "$1"
    mkdir -m 0700 "$1"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=kpack lab upstream CA" \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$1/ca.key" -out "$1/ca.pem" &&
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=kpack-lab token signer" \
            -keyout "$1/token.key" -out "$1/token.pem"
}

# has_all_names FILE: valid for another day, and for every host there is now
has_all_names() {
    local text name
    [[ -f $1 ]] && text=$(openssl x509 -checkend 86400 -noout -ext subjectAltName -in "$1") || return 1
    text=${text//$'\n'/,},
    for name in "${HOST_NAMES[@]}"; do
        [[ $text == *"DNS:$name.localhost,"* ]] || return 1
    done
}

server_certificate() {
    local name names=DNS:localhost,IP:127.0.0.1 pid
    for name in "${HOST_NAMES[@]}"; do
        names+=,DNS:$name.localhost
    done
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=kpack lab upstream" \
        -keyout "$1/server.key" -out "$1/server.csr" &&
        openssl x509 -req -in "$1/server.csr" -CA "$1/ca.pem" -CAkey "$1/ca.key" -CAcreateserial -days 825 \
            -extfile <(printf 'subjectAltName=%s\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:false\n' "$names") \
            -out "$1/server.pem" || return 1
    # nginx takes it without ending a connection.
    ! pid=$(service_pid nginx) || kill -HUP "$pid"
}

secrets() {
    local file
    for file in password signature; do
        [[ -s $UPSTREAM_DIR/$file ]] || (umask 077 && openssl rand -hex 16 >"$UPSTREAM_DIR/$file")
    done
    mkdir -p "$UPSTREAM_DIR/docker"
    (
        umask 077
        jq -n --arg host "$REGISTRY" --arg auth "$(printf 'lab:%s' "$(cat "$UPSTREAM_DIR/password")" | base64 -w0)" \
            '{auths: {($host): {auth: $auth}}}' >"$UPSTREAM_DIR/docker/config.json"
    )
}

fill_template() {
    local user_line=""
    [[ $EUID != 0 ]] || user_line="user root;"
    sed -e "s,@DIR@,$UPSTREAM_DIR,g" -e "s,@PORT@,$UPSTREAM_PORT,g" -e "s,@REGISTRY_PORT@,$UPSTREAM_REGISTRY_PORT,g" \
        -e "s,@SIGNATURE@,$(cat "$UPSTREAM_DIR/signature"),g" -e "s,@USER_LINE@,$user_line," "$HERE/templates/$1.in" >"$UPSTREAM_DIR/$1"
}

# service_pid NAME: the pid of a service of this upstream that runs; fails if it does not.
service_pid() {
    local pid began
    [[ -f $UPSTREAM_DIR/run/$1.pid ]] && read -r pid began <"$UPSTREAM_DIR/run/$1.pid" || return 1
    [[ $(process_start "$pid") == "$began" ]] || return 1
    echo "$pid"
}

# service_start NAME CONFIG COMMAND…: starts it, anew if the command or the configuration is another.
service_start() {
    local name=$1 config=$2 pid digest
    shift 2
    digest=$(cat "$config" - <<<"$*" | sha256sum)
    if service_pid "$name" >/dev/null; then
        [[ $(cat "$UPSTREAM_DIR/run/$name.started" 2>/dev/null) != "$digest" ]] || return 0
        service_stop "$name"
    fi
    rm -f "$UPSTREAM_DIR/run/$name.sock"
    (cd "$UPSTREAM_DIR" && exec setsid "$@") </dev/null >>"$UPSTREAM_DIR/log/$name.log" 2>&1 {LOCK}>&- &
    pid=$!
    echo "$pid $(process_start "$pid")" >"$UPSTREAM_DIR/run/$name.pid"
    echo "$digest" >"$UPSTREAM_DIR/run/$name.started"
}

service_stop() {
    local name=$1 pid i
    if pid=$(service_pid "$name"); then
        kill "$pid" 2>/dev/null || true
        for ((i = 0; i < 100; i++)); do
            service_pid "$name" >/dev/null || break
            ((i != 50)) || kill -KILL "$pid" 2>/dev/null || true
            sleep 0.1
        done
    fi
    rm -f "$UPSTREAM_DIR/run/$name.pid"
}

port_must_be_free() {
    [[ -z $(ss -Hltn "sport = :$1") ]] || die "port $1 is taken by another process; set $2 to another"
}

# Programs that do not know that *.localhost is this machine (all but curl) find the names in /etc/hosts.
hosts_add() {
    local line="127.0.0.1 ${HOST_NAMES[*]/%/.localhost} # kpack-lab upstream $UPSTREAM_DIR"
    ! grep -qxF "$line" /etc/hosts || return 0
    if [[ -w /etc/hosts ]]; then
        flock /etc/hosts sh -c 'printf "%s\n" "$1" >>/etc/hosts' sh "$line"
    elif ! grep -q '^127\|^::1' <<<"$(getent hosts registry.localhost)"; then
        die "registry.localhost is not known here; add this line to /etc/hosts: $line"
    fi
}

hosts_remove() {
    local mark="# kpack-lab upstream $UPSTREAM_DIR"
    [[ -w /etc/hosts ]] && grep -qF "$mark" /etc/hosts || return 0
    # Written in place: in a container /etc/hosts is a mount and cannot be renamed over.
    flock /etc/hosts sh -c 'rest=$(awk -v mark="$1" "substr(\$0, length(\$0) - length(mark) + 1) != mark" /etc/hosts) && printf "%s\n" "$rest" >/etc/hosts' sh "$mark"
}

# wait_for WHAT SECONDS COMMAND…
wait_for() {
    local what=$1 i limit=$2
    shift 2
    for ((i = 0; i < limit * 10; i++)); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    die "$what did not come up within $limit s: see $UPSTREAM_DIR/log"
}

lab_curl() {
    curl -sS --cacert "$UPSTREAM_DIR/tls/ca.pem" "$@"
}

lab_crane() {
    DOCKER_CONFIG=$UPSTREAM_DIR/docker SSL_CERT_FILE=$UPSTREAM_DIR/tls/ca.pem "$(component_dir crane)/crane" "$@"
}

push_image() {
    local dir=$1 ref=$2 digest
    digest=$(jq -r '.manifests[0].digest' "$dir/index.json")
    [[ $(lab_crane digest "$ref" 2>/dev/null) != "$digest" ]] || return 0
    lab_crane push "$dir" "$ref" >>"$UPSTREAM_DIR/log/push.log" 2>&1 || die "cannot push $ref: see $UPSTREAM_DIR/log/push.log"
}

# What it serves already stays, as far as it is still in the cache: others may be at it.
served_versions() {
    local version
    [[ ! -f $UPSTREAM_DIR/served ]] || while read -r version; do
        [[ ! -d $(UPSTREAM_K8S=$version files_dir) ]] || echo "$version"
    done <"$UPSTREAM_DIR/served"
    printf '%s\n' "${K8S_VERSIONS[@]}"
}

# served_groups: those that were asked for now or before, as far as they are still in the cache
served_groups() {
    local name
    [[ ! -f $UPSTREAM_DIR/served-with ]] || while read -r name; do
        [[ -z ${GROUP_COMPONENTS[$name]:-} || ! -d $(group_files_dir "$name") ]] || echo "$name"
    done <"$UPSTREAM_DIR/served-with"
    ((${#WITH_GROUPS[@]} == 0)) || printf '%s\n' "${WITH_GROUPS[@]}"
}

publish() {
    local version name served with
    mapfile -t with < <(served_groups | sort -u)
    mapfile -t served < <(served_versions | sort -uV)
    rm -rf "$UPSTREAM_DIR/www.new" "$UPSTREAM_DIR/www.old"
    mkdir -p "$UPSTREAM_DIR/www.new"
    for version in "${served[@]}"; do
        UPSTREAM_K8S=$version
        cp -rs --remove-destination "$(files_dir)"/. "$UPSTREAM_DIR/www.new"
    done
    for name in "${with[@]}"; do
        cp -rs --remove-destination "$(group_files_dir "$name")"/. "$UPSTREAM_DIR/www.new"
    done
    [[ ! -d $UPSTREAM_DIR/www ]] || mv "$UPSTREAM_DIR/www" "$UPSTREAM_DIR/www.old"
    mv "$UPSTREAM_DIR/www.new" "$UPSTREAM_DIR/www"
    rm -rf "$UPSTREAM_DIR/www.old"
    printf '%s\n' "${served[@]}" >"$UPSTREAM_DIR/served"
    ((${#with[@]} == 0)) || printf '%s\n' "${with[@]}" >"$UPSTREAM_DIR/served-with"
    start_all
    for version in "${K8S_VERSIONS[@]}"; do
        UPSTREAM_K8S=$version
        for name in "${IMAGES[@]}"; do
            push_image "$(image_dir "$name")" "$REGISTRY/$(image_ref "$name")"
        done
    done
    for name in $(group_images); do
        push_image "$(image_dir "$name")" "$REGISTRY/$(image_ref "$name")"
    done
    push_image "$(image_dir hello)" "$REGISTRY/private/hello:1"
}

start_all() {
    local tls=$UPSTREAM_DIR/tls
    service_start upstreamd "$UPSTREAM_DIR/password" "$(component_dir upstreamd)/upstreamd" -socket "$UPSTREAM_DIR/run/upstreamd.sock" -key "$tls/token.key" \
        -cert "$tls/token.pem" -service "$REGISTRY" -user lab -password-file "$UPSTREAM_DIR/password" -www "$UPSTREAM_DIR/www"
    wait_for "the token server" 10 test -S "$UPSTREAM_DIR/run/upstreamd.sock"
    service_start nginx "$UPSTREAM_DIR/nginx.conf" nginx -p "$UPSTREAM_DIR" -c "$UPSTREAM_DIR/nginx.conf" -e "$UPSTREAM_DIR/log/nginx-error.log"
    service_start registry "$UPSTREAM_DIR/registry.yml" env OTEL_TRACES_EXPORTER=none "$(component_dir registry)/registry" serve "$UPSTREAM_DIR/registry.yml"
    wait_for nginx 10 lab_curl -f "https://cdn.localhost:$UPSTREAM_PORT/release/stable.txt"
    wait_for "the registry" 20 lab_curl "https://$REGISTRY/v2/"
}

cmd_up() {
    local name began=$EPOCHSECONDS
    mkdir -p "$UPSTREAM_DIR"/{run,log,registry}
    service_pid nginx >/dev/null || port_must_be_free "$UPSTREAM_PORT" UPSTREAM_PORT
    service_pid registry >/dev/null || port_must_be_free "$UPSTREAM_REGISTRY_PORT" UPSTREAM_REGISTRY_PORT
    certificates
    secrets
    fill_template nginx.conf
    fill_template registry.yml
    hosts_add
    publish
    say "up in $((EPOCHSECONDS - began)) s: https://*.localhost:$UPSTREAM_PORT, registry $REGISTRY ($UPSTREAM_DIR)"
}

cmd_down() {
    local name
    for name in "${SERVICES[@]}"; do
        service_stop "$name"
    done
    hosts_remove
    rm -f "$UPSTREAM_DIR/served" "$UPSTREAM_DIR/served-with"
    say "down"
}

cmd_status() {
    local name pid status=0
    for name in "${SERVICES[@]}"; do
        if pid=$(service_pid "$name"); then
            printf '%-10s running  pid %s\n' "$name" "$pid"
        else
            printf '%-10s stopped\n' "$name"
            status=1
        fi
    done
    return $status
}
