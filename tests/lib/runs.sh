# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Runs of kinstall that meet a fault: started in the background, watched by the journal, killed, cut off,
# run again. Stands on tests/lib/e2e.sh; the test sets CLUSTER, WORK, BUNDLE and NODES.

RUN_LIMIT=${RUN_LIMIT:-900} # seconds for one run; against hanging only
RUNS=0
STATE_IN=${STATE_IN:-} # folder of the state folder and the inventory, where it is not WORK

state_in() { printf '%s' "${STATE_IN:-$WORK}"; }
journal() { printf '%s/%s.state/journal.jsonl' "$(state_in)" "$CLUSTER"; }

# kinstall with these arguments in the background, as a process of its own: KINSTALL, so that -9 hits it
# and nothing else. Its words are in RUN_OUT.
start_kinstall() { # ARGUMENTS…
    RUNS=$((RUNS + 1))
    JOURNAL_BEFORE=$(wc -l 2>/dev/null <"$(journal)" || echo 0)
    RUN_OUT=$WORK/run.$RUNS
    (
        export HOME=$WORK/home XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$CACHE
        exec "$SITE" exec -- "$PREFIX/libexec/kpack/$ARCH/kinstall" "$@"
    ) </dev/null >"$RUN_OUT" 2>&1 &
    KINSTALL=$!
}

start_run() { start_kinstall --bundle "$BUNDLE" -i "$(state_in)/hosts.yaml"; }

running() { kill -0 "$KINSTALL" 2>/dev/null; }

# True when this run's journal has a line with all of these: "event=phase" "step=init" "node=w1"
noted() {
    local filter='true' pair
    for pair in "$@"; do filter+=" and .${pair%%=*} == \"${pair#*=}\""; done
    [[ -f $(journal) ]] && tail -n "+$((JOURNAL_BEFORE + 1))" "$(journal)" | grep -aF "\"${1#*=}\"" |
        jq -e -s "any(.[]; $filter)" >/dev/null 2>&1
}

# Waits for a line of the journal; fails if the run ends before.
wait_noted() {
    local deadline=$((SECONDS + RUN_LIMIT))
    until noted "$@"; do
        running || { noted "$@" && return; fail "the run ended before \"$*\": $(tail -n 30 "$RUN_OUT")"; }
        ((SECONDS < deadline)) || fail "no \"$*\" within $RUN_LIMIT s: $(tail -n 30 "$RUN_OUT")"
        sleep 0.03
    done
}

kill_run() {
    kill -KILL "$KINSTALL" 2>/dev/null || fail "the run ended before it could be killed: $(tail -n 30 "$RUN_OUT")"
    wait "$KINSTALL" 2>/dev/null || true
}

finish_run() { # sets CODE
    CODE=0
    wait "$KINSTALL" || CODE=$?
}

# Behind finish_run: the same command again, until it ends well.
again_until_well() { # ARGUMENTS…
    local tries=0
    while ((CODE != 0)); do
        ((++tries <= 3)) || fail "the same command, run again three times, did not end well: $(tail -n 30 "$RUN_OUT")"
        start_kinstall "$@"
        finish_run
        say "run again: $CODE"
    done
}

run_until_well() { again_until_well --bundle "$BUNDLE" -i "$(state_in)/hosts.yaml"; }

# How often a transient unit of kinstall was started on a node since it booted.
unit_starts() { # NODE UNIT
    "$SITE" run "$1" -- journalctl -q -b -o cat -u "$2" | grep -c '^Started' || true
}

unit_is_active() { [[ $("$SITE" run "$1" -- systemctl is-active "$2") == activ* ]]; }

# Every SSH connection of these nodes is gone at once, as if a firewall had forgotten it; sshd stays.
cut_ssh() { # NODE…
    local node
    for node in "$@"; do
        # shellcheck disable=SC2016 # for the shell of the node
        "$SITE" run "$node" -- sh -c 'for p in $(ps -o pid= --ppid "$(systemctl show -p MainPID --value ssh)"); do kill -KILL "$p"; done' || true
    done
}

# shellcheck disable=SC2016 # for the shell of the node
is_connected() { [[ -n $("$SITE" run "${NODES[0]}" -- sh -c 'ps -o pid= --ppid "$(systemctl show -p MainPID --value ssh)"') ]]; }

# Starts the command, cuts every SSH connection some seconds behind the first one, or a second into what the
# journal has then, and runs the command again until it ends well. CUT_SAID: what the cut run has said.
cut_amid() { # SECONDS|"event=… step=…" ARGUMENTS…
    local when=$1
    shift
    start_kinstall "$@"
    # shellcheck disable=SC2086 # words
    if [[ $when == event=* ]]; then
        wait_noted $when
        sleep 1
    else
        until is_connected || ! running; do sleep 0.05; done
        sleep "$when"
    fi
    if running; then cut_ssh "${NODES[@]}"; else say "$1: was over before the cut"; fi
    finish_run
    CUT_SAID=$(cat "$RUN_OUT")
    say "kinstall ${*:1:2}: cut, ended with $CODE$( ((CODE == 0)) || printf ': %.160s' "$(grep -a 'kinstall:' "$RUN_OUT" | tail -n 1)")"
    again_until_well "$@"
}

# Of a run that goes on: a second into what its journal has. Nothing where it ended before.
cut_at() { # event=… step=…
    until noted "$@"; do
        running || return 0
        sleep 0.05
    done
    sleep 1
    cut_ssh "${NODES[@]}"
}
