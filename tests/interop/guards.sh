#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/interop/guards.sh [REGEX]: takes one guard of bundle/'s readers out at a time, in a copy of
# the tree, and sees that a test fails. A guard that nothing misses ends it with 1. Takes half an
# hour: not part of ctest. Each line below: file, what it guards, and a sed program.
set -euo pipefail
TOP=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.." && pwd)
BUILD=${KPACK_GUARDS_BUILD:-$TOP/build/guards}
TREE=$BUILD/tree
TESTS=(test_bundle_layout test_bundle_manifest test_bundle_sign test_bundle_trust test_bundle_read test_bundle_damage)

guards() {
    cat <<'END'
bundle/layout.c|the last-block bit of a block header|s/last \? 1U : 0U/0U/
bundle/layout.c|block headers are compared|s/good = good \&\& memcmp\(stored, block.header, KP_BLOCK_HEADER\) == 0;//
bundle/layout.c|padding is zero|s/good = good \&\& is_zero\(.*$/(void)is_zero;/
bundle/open.c|head and frame of the first two entries are compared|s/memcmp\(stored, needed, sizeof\(needed\)\) != 0/false/
bundle/open.c|the bound of bundle.json|s/\*size > max/false/
bundle/open.c|blocks of the first two entries are compared|s/if \(!kp_layout_blocks_read\(stored, size, 0, kp_layout_blocks\(size\), take_content, \&filling\)\)/if (!kp_layout_blocks_read(stored, size, 0, kp_layout_blocks(size), take_content, \&filling) \&\& false)/
bundle/open.c|bundle.sig has its one size|s/if \(len != KP_SIG_SIZE\)/if (false)/
bundle/open.c|nothing after the end|s/if \(b->size > needed\)/if (false \&\& b->size > needed)/;s/if \(b->size == needed\)/if (b->size >= needed)/
bundle/open.c|the end is there|s/if \(b->size == needed\)/if (b->size <= needed)/
bundle/open.c|signatures are checked|s/if \(trust \&\& kp_signatures_verify/if (false \&\& kp_signatures_verify/
bundle/open.c|the accepted id|s/if \(id \&\& !kp_digest_equal\(\&seen, id\)\)/if (false)/
bundle/open.c|a regular file|s/if \(!S_ISREG\(st.st_mode\)\)/if (false)/
bundle/verify.c|bundle.leaves against its digest|s/ \|\| !kp_digest_equal\(\&seen, \&entry->sha256\)\)/)/
bundle/verify.c|head of bundle.leaves|s/if \(!good \|\| memcmp\(stored, head, head_len\) != 0 /if (!good /
bundle/verify.c|the end is zeros|s/if \(memcmp\(stored, needed, sizeof\(needed\)\) != 0\)/if (false)/
bundle/verify.c|the file keeps its length|s/if \(\(uint64_t\)st.st_size != v->b->size\)/if (false)/
bundle/verify.c|content against leaf and digest|s/check_stretch\(v, \&s, worker->buffer, worker->hash, \&seen\) \&\& content_fits\(v, \&s, \&seen\)/check_stretch(v, \&s, worker->buffer, worker->hash, \&seen) \&\& (content_fits(v, \&s, \&seen) || true)/
bundle/verify.c|heads and blocks of entries|s/check_stretch\(v, \&s, worker->buffer, worker->hash, \&seen\) \&\& content_fits/(check_stretch(v, \&s, worker->buffer, worker->hash, \&seen) || true) \&\& content_fits/
bundle/signatures.c|form of a line|s/if \(!parse_line\(block \+ at, item\)\)/if (!parse_line(block + at, item) \&\& false)/
bundle/signatures.c|order of key ids|s/if \(set.count \&\& compare_ids\(\&item\[-1\].key_id, \&item->key_id\) >= 0\)/if (false)/
bundle/signatures.c|blanks to the end|s/if \(block\[at\] != ' '\)/if (false)/
bundle/signatures.c|an invalid signature by a known key|s/if \(key \&\& !kp_spki_verify\(key->public_key, message, signature->bytes\)\)/if (false)/
bundle/signatures.c|at least one valid|s/if \(!found.valid\)/if (false)/
bundle/signatures.c|a known key under another id|s/if \(check_unknown\(set, \&found, trust, message, err\) < 0\)/if (check_unknown(set, \&found, trust, message, err) < 0 \&\& false)/
bundle/signatures.c|an empty trust store|s/if \(!kp_trust_count\(trust\)\) \{/if (false) {/
bundle/manifest_parse.c|kind|s/if \(r->failed \|\| strcmp\(kind, KP_MANIFEST_KIND\) == 0\)/if (true)/
bundle/manifest_parse.c|paths of entries|s/if \(!r->failed \&\& strcmp\(entry->path, needed\) != 0\)/if (false)/
bundle/manifest_parse.c|blobs ascend|s/if \(i \&\& memcmp\(blob\[-1\].sha256.bytes, blob->sha256.bytes, KP_SHA256_LEN\) >= 0\)/if (false)/
bundle/manifest_parse.c|no setuid, no write bit|s/\(mode \& ~\(uint64_t\)0755\)/false/
bundle/manifest_parse.c|target|s/kp_target_ok, "an/plain_rule, "an/
bundle/manifest_parse.c|blob of a file is listed|s/check_blob\(p->m, r, "blob", \&file->blob, file->blob_size\);//
bundle/manifest_parse.c|length of bundle.leaves|s/if \(m->entries\[0\].size != leaves/if (false \&\& m->entries[0].size != leaves/
bundle/manifest_parse.c|tail_length|s/if \(m->tail_length != tail\)/if (false)/
bundle/manifest_parse.c|entries are the blobs|s/!kp_digest_equal\(\&m->entries\[at\].sha256, \&blob->sha256\)/false/
bundle/manifest_parse.c|an entry too many|s/if \(at != m->entry_count\)$/if (false)/
bundle/manifest_parse.c|the same name, target or reference twice|s/check_twice\(\&p\);/(void)check_twice;/
bundle/manifest_parse.c|a base that holds nothing|s/check_bases\(\&p\);/(void)check_bases;/
bundle/manifest_parse.c|unknown keys|s/return kp_json_finish\(\&top\);/return top.failed ? -1 : 0;/
core/json.c|duplicate keys|s/JSON_REJECT_DUPLICATES/0/
core/json.c|depth|s/if \(depth > KP_JSON_DEPTH_MAX\)/if (false)/
core/json.c|zero bytes in texts|s/ \|\| strlen\(json_string_value\(value\)\) != len\)/)/
bundle/names.c|dot dot in names|s/!strstr\(text, "\.\."\)/true/
bundle/names.c|dot dot in targets|s/ \&\& !kp_slice_equal\(part, "\.\."\)//
END
}

# The first test that fails, or nothing.
who_misses_it() {
    local name
    for name in "${TESTS[@]}"; do
        timeout 300 "$BUILD/out/tests/unit/$name" >/dev/null 2>&1 || { echo "unit/${name#test_}"; return; }
    done
    build kpack hostile_corpus hostile_mutate || return
    timeout 600 "$BUILD/out/tests/interop/hostile_corpus" "$BUILD/out/pack/kpack" >/dev/null 2>&1 ||
        { echo interop/hostile_corpus; return; }
    timeout 60 "$BUILD/out/tests/interop/hostile_mutate" 10 1 >/dev/null 2>&1 || echo interop/hostile_mutate
}

build() { cmake --build "$BUILD/out" -j "$(nproc)" --target "$@" >"$BUILD/log" 2>&1; }

mkdir -p "$TREE"
git -C "$TOP" archive HEAD | tar -xm -C "$TREE"

cmake -S "$TREE" -B "$BUILD/out" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DKPACK_WERROR=OFF -DCMAKE_C_FLAGS='-O1' >/dev/null
build "${TESTS[@]}" || { tail -n 20 "$BUILD/log"; exit 1; }
found=$(who_misses_it)
[[ -z $found ]] || { echo "$found fails with all guards in place"; exit 1; }
unguarded=0
while IFS='|' read -r file what program; do
    [[ "$file $what" =~ ${1:-.} ]] || continue
    cp "$TREE/$file" "$BUILD/kept"
    sed -E -i "$program" "$TREE/$file"
    if cmp -s "$BUILD/kept" "$TREE/$file"; then
        verdict='STALE: the pattern matches nothing' unguarded=1
    elif ! build "${TESTS[@]}"; then
        verdict='STALE: it does not build' unguarded=1
    else
        verdict=$(who_misses_it)
        [[ -n $verdict ]] || { verdict='NOBODY' unguarded=1; }
    fi
    cp "$BUILD/kept" "$TREE/$file"
    printf '%-24s %-52s %s\n' "$file" "$what" "$verdict"
done < <(guards)
exit "$unguarded"
