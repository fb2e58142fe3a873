#!/bin/bash
# faults.sh - what goes wrong around a run: a disk that is full at each write, two runs at once, files that are not what they should be.
# Nothing is lost, nothing is doubled, the sentence says what to do. make stress runs it with FULL=40.
. "$(dirname "$0")/lib.sh"
full=${FULL:-5}
make_corpus corpus
make_experiment x.ini 42 "" "lr = 0.003"

same() { same_results "$1" "$WORK/whole/res" "$2"; }

mkdir whole && cd whole || exit 2
right run ../x.ini --out res
cd ..
holds "there are rows to lose" test "$(wc -l <whole/res/results.csv)" -gt 50

# ---- a disk that is full at each write
# refused FOLDER SENTENCE: the run that just failed said one line with SENTENCE, and FOLDER holds what it held.
refused() {
    checks=$((checks + 1))
    if [ "$status" -ne 2 ] || ! grep -Eq "^infinibench: .*($2)" err.txt || [ "$(grep -c '^infinibench: ' err.txt)" -ne 1 ]; then
        say_failed "$what: exit status $status, expected 2 and one line that says '$2'"
        sed 's/^/    /' err.txt
    fi
    for f in results.csv samples.csv curves.csv; do
        holds "$what: $f is what it was, and perhaps more" cmp <(head -c "$(stat -c %s "before/$f")" "$1/$f") "before/$f"
    done
}
mkdir disk && cd disk || exit 2
right run ../x.ini --only null --out before
cp -r build build.before
again() { rm -rf res build && cp -r before res && cp -r build.before build; }
# no file may grow beyond so many KiB: needs no rights
failed=0
for k in $(awk -v n="$full" 'BEGIN { for (i = 0; i < n; i++) print i == 0 ? 0 : int(2 ^ (i * 10 / n)) }'); do
    again
    what="files end at $k KiB"
    (trap '' XFSZ; ulimit -f "$k"; exec timeout 60 "$BIN" --quiet run ../x.ini --out res 2>&1 >/dev/null) | cat >err.txt
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] && continue
    failed=$((failed + 1))
    refused res "File too large"
    right run ../x.ini --out res
    same "$what, then no more" res
done
echo "a write failed at $failed of $full sizes that a file may have"
holds "files had an end" test "$failed" -ge $((full / 2))
# the curve alone cannot be written: no checkpoint counts a step whose point is not kept, or no resume would make up for it
again
point=$(cd ../whole && echo build/checkpoints/x/infini-*/train)
mkdir -p "$point/curve.txt"
what="no place for the curve"
"$BIN" --quiet run ../x.ini --out res >/dev/null 2>err.txt
status=$?
refused res "curve.txt"
holds "$what: no checkpoint" test ! -e "$point/model.safetensors"
rmdir "$point/curve.txt"
right run ../x.ini --out res
same "$what, then there is" res
# every call that writes, syncs, renames fails once, at FULL moments of each: where strace is there
calls() { grep -c " $1(" calls.txt; }
again
if [ "$full" -gt 5 ] && strace -f -qq -o calls.txt -e trace=write,fsync,rename "$BIN" --quiet run ../x.ini --out res >/dev/null 2>&1; then
    for call in write fsync rename; do
        for i in $(seq 1 "$full"); do
            again
            k=$(($(calls $call) * i / (full + 1))) # not the last: a run may need fewer
            what="call $k of $call fails"
            strace -f -qq -o /dev/null -e trace=$call -e inject=$call:error=ENOSPC:when=$k "$BIN" --quiet run ../x.ini --out res >/dev/null 2>err.txt
            status=$?
            refused res "No space left on device"
            right run ../x.ini --out res
            same "$what, then none" res
        done
    done
    echo "$full of $(calls write) calls of write, $(calls fsync) of fsync, $(calls rename) of rename failed"
elif [ "$full" -gt 5 ]; then
    echo "no strace: no single call failed"
fi
# a file system that is full, byte for byte: where one may be mounted
mkdir small
if mount -t tmpfs -o size=64k infinibench-test small 2>/dev/null; then
    trap 'umount -l "$WORK/disk/small" 2>/dev/null; cleanup' EXIT
    mount -o remount,size=256m small
    again
    cp -r res build small/
    (cd small && exec "$BIN" --quiet run ../../x.ini --out res) >/dev/null 2>&1
    most=$(du -sk small | cut -f1) least=$(du -sk before build.before | awk '{ s += $1 } END { print s }')
    failed=0
    for i in $(seq 0 $((full - 1))); do
        size=$((least + (most - least) * i / full))
        rm -rf small/res small/build small/err
        mount -o remount,size=256m small
        cp -r before small/res && cp -r build.before small/build
        mount -o remount,size="${size}k" small 2>/dev/null || continue
        what="a disk of $size KiB"
        (cd small && exec timeout 60 "$BIN" --quiet run ../../x.ini --out res 2>&1 >/dev/null) >err.txt
        status=$?
        [ $status -eq 0 ] && continue
        failed=$((failed + 1))
        refused small/res "No space left on device"
        mount -o remount,size=256m small
        (cd small && exec "$BIN" --quiet run ../../x.ini --out res) >out.txt 2>&1
        holds "$what, then a larger one" test $? -eq 0
        same "$what, then a larger one" small/res
    done
    echo "the disk was full at $failed of $full sizes"
    holds "the disk was full" test "$failed" -ge $((full / 2))
    umount small
    trap cleanup EXIT
else
    echo "no right to mount a file system: a full disk was tried by the size of files alone"
fi
cd ..
right train x.ini --row infini --out m.safetensors
cp m.safetensors kept.safetensors
for command in "train x.ini --row infini --out m.safetensors" "logits --model kept.safetensors --input corpus/test/r.txt --output m.safetensors"; do
    # shellcheck disable=SC2086
    (trap '' XFSZ; ulimit -f 100; exec "$BIN" --quiet $command 2>&1 >/dev/null) | cat >err.txt
    holds "a full disk ends '${command%% *}' with status 2" test "${PIPESTATUS[0]}" -eq 2
    holds "'${command%% *}' says it" grep -Eq "^infinibench: .*(m.safetensors)" err.txt
    holds "'${command%% *}' leaves the file before as it was" cmp m.safetensors kept.safetensors
    holds "'${command%% *}' leaves nothing half written" test ! -e m.safetensors.tmp
done
"$BIN" list >/dev/full 2>err.txt
holds "standard output is full: status 2" test $? -eq 2
holds "standard output is full: said" grep -q "cannot write to standard output" err.txt
wrong "o.npy.*|/dev/full is no regular file" logits --model m.safetensors --input corpus/test/r.txt --output /dev/full
wrong "cannot write .*/dev/full: No space left" eval language_modeling --model m.safetensors --corpus ./corpus --csv /dev/full
holds "a device stays one" test -c /dev/full
ln -s kept.safetensors link.safetensors
right train x.ini --row infini --out link.safetensors
holds "a link stays one" test -L link.safetensors

# ---- two runs at once
make_experiment long.ini 100000
"$BIN" --quiet run long.ini --only infini --out one >/dev/null 2>&1 &
pid=$!
children="$children $pid"
for _ in $(seq 200); do [ -n "$(find build -path '*long*' -name curve.txt -size +0 2>/dev/null)" ] && break; sleep 0.1; done
wrong "one: in use by process $pid; wait.*--out" run long.ini --out one
# another results folder, but the same checkpoints
"$BIN" --quiet run long.ini --only infini --out two 2>err.txt
holds "another results folder, the same checkpoints: status 2" test $? -eq 2
holds "said" grep -q "^infinibench: .*build/checkpoints/[^ ]*: another process is training there; wait" err.txt
wrong "another process is training there" train long.ini --row infini --out l.safetensors
kill -KILL $pid
wait $pid 2>/dev/null

# ---- files that are not what they should be
mkdir folder
wrong "folder" run folder
wrong "folder.*no regular file|folder.*is a" logits --model folder --input corpus/test/r.txt --output o.npy
wrong "folder" logits --model m.safetensors --input folder --output o.npy
wrong "m.safetensors.*a file is in its place" run x.ini --out m.safetensors
wrong "cannot write folder: it is a folder" train x.ini --row infini --out folder
: >zero.ini
wrong "zero.ini:[0-9]*: .*preset" run zero.ini
head -c 3000 /dev/urandom >noise.ini
wrong "noise.ini" run noise.ini
sed 's/$/\r/' x.ini >crlf.ini
right run crlf.ini --dry-run
{ printf '\357\273\277'; cat x.ini; } >bom.ini
right run bom.ini --dry-run
sed 's/^steps = .*/steps = 99999999999999999999999/' x.ini >huge.ini
wrong "huge.ini:[0-9]+.*steps" run huge.ini --out res
sed 's/^title/seeds = 1e400\ntitle/' x.ini >seeds.ini
wrong "seeds.ini:[0-9]+.*'1e400'" run seeds.ini --out res
for f in results samples curves; do
    rm -rf spoilt && cp -r whole/res spoilt
    rm spoilt/$f.csv && mkdir spoilt/$f.csv
    wrong "spoilt/$f.csv" run x.ini --out spoilt
    rm -rf spoilt && cp -r whole/res spoilt
    head -c 5000 /dev/urandom >spoilt/$f.csv
    wrong "spoilt/$f.csv" run x.ini --out spoilt
done
rm -rf spoilt && cp -r whole/res spoilt
printf '1 2 3' >spoilt/commit.tmp
wrong "spoilt/commit.tmp: not a journal" run x.ini --out spoilt
rm -rf spoilt && cp -r whole/res spoilt
sed -i '2s/[^,]*$/0123456789abcdef0123/' spoilt/results.csv
wrong "spoilt/results.csv:2: the cell is '0123456789abcdef0123'" run x.ini --out spoilt
holds "its samples are kept" cmp whole/res/samples.csv spoilt/samples.csv
rm -rf spoilt && mkdir spoilt
: >spoilt/results.csv
wrong "spoilt.*(empty|no )" report spoilt
if [ "$(id -u)" -ne 0 ]; then
    rm -rf spoilt && cp -r whole/res spoilt && chmod -w spoilt
    wrong "spoilt.*Permission denied" run x.ini --out spoilt
    chmod +w spoilt
fi
# a model that does not learn but explode: the sentence names the step, the other row is there
sed 's/^\[row infini\]/&\nlr = 1000\nclip = 0/' x.ini >nan.ini
"$BIN" --quiet run nan.ini --out nan 2>err.txt
holds "a model that explodes: status 2" test $? -eq 2
holds "said, with step" grep -Eq "^infinibench: row infini, seed 1: the (loss is nan|gradient).* at step [0-9]+" err.txt
holds "the other row is measured" grep -q "null.*bits_per_byte" nan/results.csv
finish
