#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# serve.sh KREGISTRY MAKE_BUNDLE CROWD: kregistry beside nginx on the same bytes, same certificate,
# same client (curl, keep-alive, two at once). Two figures each, the better of three runs: what
# came through, and what one second of the server's own CPU time moved (the client shares the
# cores, so only the second says what the server costs).
set -euo pipefail
kregistry=$1 make_bundle=$2 crowd=$3
work=$(mktemp -d /tmp/kp-serve-XXXXXX)
pids=()
# shellcheck disable=SC2317 # called by trap
cleanup() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$work"
}
trap cleanup EXIT
chmod 755 "$work"
cd "$work"
images=8 layer=$((64 << 20)) rounds=2 clients=2
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mirror \
    -addext subjectAltName=IP:127.0.0.1 -keyout tls.key -out tls.crt 2>/dev/null
id=$("$make_bundle" site $images $layer)
mkdir www
tar -C www -I zstd -xf site/test.tar.zst
blobs=(www/blobs/sha256/*)
big=()
for file in "${blobs[@]}"; do
    if (($(stat -c %s "$file") == layer)); then big+=("$(basename "$file")"); fi
done

"$kregistry" --bundle site/test.tar.zst --id "$id" --listen 127.0.0.1:0 --plain 127.0.0.1:0 \
    --tls-cert tls.crt --tls-key tls.key 2>log &
ours=$!
pids+=("$ours")
cat >nginx.conf <<CONF
daemon off; user root; worker_processes auto; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 1024; }
http {
    access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000;
    server { listen 127.0.0.1:15643 ssl; listen 127.0.0.1:15680;
             ssl_certificate $work/tls.crt; ssl_certificate_key $work/tls.key; root $work/www; }
}
CONF
nginx -c "$work/nginx.conf" 2>/dev/null &
theirs=$!
pids+=("$theirs")
sleep 1.5
https=$(sed -n 's,.*https://[^ ]*:\([0-9]*\)$,\1,p' log)
http=$(sed -n 's,.*http://[^ ]*:\([0-9]*\)$,\1,p' log)

cpu_ticks() { # PID: of the process and its children
    local total=0 pid
    for pid in "$1" $(cat /proc/"$1"/task/*/children); do
        total=$((total + $(awk '{print $14 + $15}' "/proc/$pid/stat")))
    done
    echo "$total"
}
fetch() { # PREFIX: everything $rounds times over one connection
    local round file
    for ((round = 0; round < rounds; round++)); do
        for file in "${big[@]}"; do printf 'url = "%s/%s"\noutput = /dev/null\n' "$1" "$file"; done
    done | curl -sS --fail --cacert tls.crt -K -
}
measure() { # NAME PID PREFIX: sets rate and cost (MB/s, MB per CPU second), the better of three
    local run start end before after waiting client bytes
    bytes=$((images * layer * rounds * clients))
    rate=0 cost=0
    for run in 1 2 3 4; do
        before=$(cpu_ticks "$2") start=$(date +%s%N) waiting=()
        for ((client = 0; client < clients; client++)); do
            fetch "$3" &
            waiting+=($!)
        done
        wait "${waiting[@]}"
        end=$(date +%s%N) after=$(cpu_ticks "$2")
        if ((run == 1)); then continue; fi # fills caches, and has kregistry verify
        local r=$((bytes * 1000 / (end - start))) c=$((bytes / 10000 / (after - before + 1)))
        if ((r > rate)); then rate=$r; fi
        if ((c > cost)); then cost=$c; fi
    done
    printf '%-22s %6d MB/s   %6d MB per CPU second of the server\n' "$1" "$rate" "$cost"
}
ratio() { printf 'ratio %-17s %5.2f        %5.2f\n' "$1" "$(bc -l <<<"$2/$4")" "$(bc -l <<<"$3/$5")"; }
measure "kregistry TLS" "$ours" "https://127.0.0.1:$https/blobs/sha256"
r=$rate c=$cost
measure "nginx TLS" "$theirs" "https://127.0.0.1:15643/blobs/sha256"
ratio "TLS" "$r" "$c" "$rate" "$cost"
measure "kregistry plain" "$ours" "http://127.0.0.1:$http/blobs/sha256"
r=$rate c=$cost
measure "nginx plain" "$theirs" "http://127.0.0.1:15680/blobs/sha256"
ratio "plain" "$r" "$c" "$rate" "$cost"
"$crowd" "https://127.0.0.1:$https/blobs/sha256/${big[0]}" tls.crt "$ours" 1000 0 0 2
"$crowd" "https://127.0.0.1:$https/blobs/sha256/${big[0]}" tls.crt "$ours" 0 1000 0 2

# Bundle on disk -> last image served, beside one hash pass over the same bytes.
kill "$ours"
wait "$ours" || true
start=$(date +%s%N)
openssl dgst -sha256 site/test.tar.zst >/dev/null
hash=$(($(date +%s%N) - start))
start=$(date +%s%N)
"$kregistry" --bundle site/test.tar.zst --id "$id" --plain 127.0.0.1:15691 --quiet 2>/dev/null &
ours=$!
pids+=("$ours")
until curl -s -o /dev/null http://127.0.0.1:15691/healthz; do sleep 0.005; done
rounds=1
fetch http://127.0.0.1:15691/blobs/sha256
served=$(($(date +%s%N) - start))
printf 'start to last blob served %d ms, one pass of openssl sha256 %d ms, ratio %.2f\n' \
    $((served / 1000000)) $((hash / 1000000)) "$(bc -l <<<"$served/$hash")"
