#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Slices: cut, read in place, mixed up on purpose, checked alone, joined, repaired. cat, split and tar are
# the other tools. usage: slices.sh BUNDLE_MAKE KPACK
set -euo pipefail
export LC_ALL=C NO_COLOR=1
MAKE=$(readlink -f "$1") KPACK=$(readlink -f "$2")
WORK=$(mktemp -d /tmp/kpack-slices.XXXXXX)
trap 'rm -rf "$WORK"' EXIT
cd "$WORK"
export HOME=$WORK XDG_CONFIG_HOME=$WORK/config XDG_CACHE_HOME=$WORK/cache
FAILED=0
fail() { echo "FAIL $*" >&2; FAILED=1; }
# run CODE TEXT ARGS…: kpack ends with that code, and TEXT is in what it says.
run() {
    local wanted=$1 text=$2 code=0
    shift 2
    "$KPACK" "$@" >out 2>&1 || code=$?
    [[ $code == "$wanted" ]] || { fail "kpack $*: exit code $code, not $wanted"; cat out >&2; }
    grep -qF -- "$text" out || { fail "kpack $*: '$text' is not in:"; cat out >&2; }
}
flip() { # FILE BYTE
    local old
    old=$(dd if="$1" bs=1 skip="$2" count=1 status=none | od -An -tu1)
    # shellcheck disable=SC2059
    printf "\\x$(printf %02x $((old ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
fresh() { rm -rf one && mkdir one && cp -r good one/s; }

"$MAKE" x.tar.zst maker.pub
mkdir good
run 0 "" keygen site
run 0 "signed" sign x.tar.zst
SIZE=$(stat -c %s x.tar.zst)

# cut; other tools put it together
run 0 "list good/x.tar.zst.slices" split x.tar.zst --size 1500000 -o good/x.tar.zst
cat good/x.tar.zst.0* | cmp - x.tar.zst || fail "cat of the slices is not the bundle"
N=$(ls good/x.tar.zst.0* | wc -l)
((N > 3)) || fail "only $N slices"
tar --zstd -xOf good/x.tar.zst.slices slices.json | jq -r '.slices[].sha256' >sums
sha256sum good/x.tar.zst.00[2-9] | cut -d' ' -f1 | cmp - sums || fail "the list's digests"
run 2 "a size of slices" split x.tar.zst --size 7 -o small

# every reader takes them in place: by the first, by the whole's name, by the folder
for path in good/x.tar.zst.001 good/x.tar.zst good; do
    run 0 "ok " verify $path
    run 0 "serial" inspect $path
    run 0 "kubelet" list $path
done
mkdir stranger; printf x >stranger/x.tar.zst.009 # a folder beside, with slices of another bundle
run 0 "ok " verify good; rm -r stranger
# three sticks beside each other
mkdir -p media/s1 media/s2 media/s3
cp good/x.tar.zst.001 good/x.tar.zst.002 media/s1
cp good/x.tar.zst.003 media/s2
cp good/x.tar.zst.00[4-9] good/x.tar.zst.slices media/s3
run 0 "ok " verify media/s1/x.tar.zst.001
run 0 "slice 4 of $N" verify media/s3/x.tar.zst.004

# one alone
run 0 "slice 3 of $N" verify good/x.tar.zst.003
fresh; flip one/s/x.tar.zst.003 1100000
run 4 "bytes 1 048 576 – 1 499 999 of the slice" verify one/s/x.tar.zst.003
run 4 "one/s/x.tar.zst.003" verify one/s/x.tar.zst.001
run 0 "slice 2" verify one/s/x.tar.zst.002
mv one/s/x.tar.zst.slices one/s/list
run 5 "there is no slice list" verify one/s/x.tar.zst.002
mv config/kpack/trusted.d/site.pub .
run 3 "no trusted key" verify good/x.tar.zst.003
mv site.pub config/kpack/trusted.d/
fresh; flip one/s/x.tar.zst.slices 700
run 3 "signature" verify one/s/x.tar.zst.003

# missing, mixed up, too long, too short, of another bundle
for i in 001 002 003 00$N; do
    fresh; rm one/s/x.tar.zst.$i
    run 5 "x.tar.zst.$i is missing" verify one/s/x.tar.zst.001
done
fresh; rm one/s/x.tar.zst.002 one/s/x.tar.zst.003
run 5 "x.tar.zst.002, x.tar.zst.003 are missing" verify one/s/x.tar.zst
fresh; mv one/s/x.tar.zst.002 t; mv one/s/x.tar.zst.003 one/s/x.tar.zst.002; mv t one/s/x.tar.zst.003
run 4 "damaged" verify one/s/x.tar.zst.001
run 4 "is slice 3 of this bundle, not slice 2" verify one/s/x.tar.zst.002
fresh; cp one/s/x.tar.zst.002 one/s/x.tar.zst.003
run 4 "x.tar.zst.003" verify one/s/x.tar.zst.001
run 4 "is slice 2 of this bundle, not slice 3" verify one/s/x.tar.zst.003
fresh; printf x >>one/s/x.tar.zst.003
run 4 "one/s/x.tar.zst.003" verify one/s/x.tar.zst.001
run 4 "has 1 500 001 bytes, not 1 500 000" verify one/s/x.tar.zst.003
fresh; truncate -s -1 one/s/x.tar.zst.003
run 4 "has 1 499 999 bytes, not 1 500 000" verify one/s/x.tar.zst.003
run 4 "" verify one/s/x.tar.zst.001
fresh; head -c 1500000 /dev/urandom >one/s/x.tar.zst.003
run 4 "one/s/x.tar.zst.003" verify one/s/x.tar.zst.001
fresh; cp one/s/x.tar.zst.002 one/s/x.tar.zst.00$((N + 1))
run 4 "does not belong to it" verify one/s/x.tar.zst.001
fresh; cp one/s/x.tar.zst.002 one/s/x.tar.zst.00$((N + 4))
run 4 "remove the slices after it" verify one/s/x.tar.zst.001

# more than 999: four digits, so that a glob lists them in order
mkdir -p many/many
run 0 "many/many/x.tar.zst.0001" split x.tar.zst --size $((SIZE / 1500)) -o many/many/x.tar.zst
cat many/many/x.tar.zst.[0-9]* | cmp - x.tar.zst || fail "cat of 1000+ slices"
run 0 "ok " verify many/many/x.tar.zst
run 0 "slice 1234 of" verify many/many/x.tar.zst.1234
# odd sizes of another tool
mkdir -p odds/odd
split -b 777777 -d -a 3 --numeric-suffixes=1 x.tar.zst odds/odd/x.tar.zst.
run 0 "ok " verify odds/odd

# join, sign in place
run 0 "sha256 $(sha256sum <x.tar.zst | cut -d' ' -f1)" join media/s1/x.tar.zst.001 -o joined.tar.zst
cmp joined.tar.zst x.tar.zst || fail "joined differs"
run 2 "is there already" join good -o joined.tar.zst
fresh; flip one/s/x.tar.zst.003 9
run 4 "one/s/x.tar.zst.003" join one/s/x.tar.zst.001 -o bad.tar.zst
[[ ! -e bad.tar.zst && ! -e bad.tar.zst.partial ]] || fail "a damaged join left a file"
run 0 "" keygen other
fresh; run 0 "signed" sign one/s/x.tar.zst.001 --key other
run 0 "ok " verify one/s/x.tar.zst
run 0 "slice 2" verify one/s/x.tar.zst.002 --key config/kpack/keys/other.pub
mv config/kpack/trusted.d/site.pub .
run 0 "slice 2" verify one/s/x.tar.zst.002
mv site.pub config/kpack/trusted.d/; rm -f config/kpack/trusted.d/other.pub
run 0 "(unsigned)" split x.tar.zst --size 1500000 --unsigned -o un.tar.zst
run 0 "ok " verify un.tar.zst.001
run 3 "" verify un.tar.zst.002

# repair: only what is bad is fetched; copies damaged at different places help each other
fresh; flip one/s/x.tar.zst.003 1100000
run 0 "1 range," repair one/s/x.tar.zst.001 --from x.tar.zst
cat one/s/x.tar.zst.0* | cmp - x.tar.zst || fail "repaired slices"
run 0 "0 ranges" repair one/s/x.tar.zst.001 --from x.tar.zst
cp x.tar.zst a; cp x.tar.zst b; flip a 2000000; flip b 300000; flip b 3; flip a $((SIZE - 5))
run 0 "2 ranges" repair a --from b
cmp a x.tar.zst || fail "repaired whole"
cp x.tar.zst a; truncate -s 1000000 a; flip a 3
run 0 "repaired" repair a --from good/x.tar.zst.001
cmp a x.tar.zst || fail "repaired truncated"
cp x.tar.zst a; printf trailing >>a
run 0 "0 ranges" repair a --from good
cmp a x.tar.zst || fail "repaired trailing"
cp x.tar.zst a; cp x.tar.zst b; flip a 2000000; flip b 2000001; cp a before
run 5 "no copy has them right" repair a --from b
cmp a before || fail "a range that no copy has was written"
run 0 "1 range," repair a --from b --from good
cmp a x.tar.zst || fail "third copy"
head -c "$SIZE" /dev/urandom >a; cp a before
run 4 "nothing of it fits" repair a --from x.tar.zst
cmp a before || fail "a foreign file was written over"
mv config/kpack/trusted.d/site.pub .
cp x.tar.zst a; flip a 2000000
run 3 "" repair a --from x.tar.zst

exit $FAILED
