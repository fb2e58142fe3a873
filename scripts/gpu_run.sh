#!/bin/bash
# gpu_run.sh OUT [EXPERIMENT] [MINUTES] - on a GPU machine, from an unpacked gpu-pack (or a checkout built with CUDA=1): tests, benchmarks,
# compute-sanitizer, peers, and with the time left an experiment (default table2-small). Everything goes into the folder OUT; what there was no
# time for is said. After every part, and every minute of the experiment, all of it but the models is packed into
# ARCHIVE.tar.gz.00, .01, ... of 15 MB at most (default OUT), so that a machine that is taken away leaves what was done.
# Run it again with the same OUT and the experiment goes on. MINUTES: whole ones, 25 by default.
# INFINIBENCH_PYTHON: the interpreter with PyTorch (default python3). STEPS: which parts in which order, of "test bench sanitize peers
# experiment" (the default).
set -u
cd "$(dirname "$0")/.." || exit 2
[ $# -ge 1 ] || { echo "usage: scripts/gpu_run.sh OUT [EXPERIMENT] [MINUTES]" >&2; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
experiment=${2:-table2-small} minutes=${3:-25} start=$SECONDS archive=${ARCHIVE:-$out}
steps=${STEPS:-test bench sanitize peers experiment}
mkdir -p "$(dirname "$archive")" || exit 2
for step in $steps; do
    case $step in
    test | bench | sanitize | peers | experiment) ;;
    *) echo "gpu_run.sh: STEPS has '$step'; there are test, bench, sanitize, peers, experiment" >&2; exit 2 ;;
    esac
done
bin=bin
[ -x bin/infinibench ] || bin=build/release
test_binary=$bin/test_cuda
[ -x $test_binary ] || test_binary=$bin/tests/test_cuda
[ -x $bin/infinibench ] || { echo "gpu_run.sh: there is no program in bin/ or build/release; unpack gpu-pack.tar.gz or run make CUDA=1" >&2; exit 2; }
python=${INFINIBENCH_PYTHON:-python3}
if [ -f data.tar.xz ] && [ ! -d data ]; then
    tar xJf data.tar.xz || { rm -rf data; "$python" -c 'import tarfile; tarfile.open("data.tar.xz").extractall()'; } ||
        { rm -rf data; echo "gpu_run.sh: data.tar.xz cannot be unpacked (neither xz nor $python): no experiment" >&2; }
fi
[ -d data ] && export INFINIBENCH_DATA=$PWD/data
export TMPDIR=${TMPDIR:-/tmp}
failed=""
# A toolkit that came with PyTorch is not where libraries are looked for.
if ! ldconfig -p 2>/dev/null | grep -q 'libcublas\.so\.1[23]' && [ ! -e /usr/local/cuda/lib64/libcublas.so ]; then
    blas=$(find /usr/local /opt /usr/lib "${HOME:-/root}" -name 'libcublas.so.1[23]' -printf '%h\n' 2>/dev/null | head -1)
    [ -z "$blas" ] || export LD_LIBRARY_PATH=$blas${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

pack() ( # one at a time; what is being written replaces the last when it is whole
    flock 9 && rm -f "$archive".new.*
    tar -C "$out" --exclude='*.safetensors' --exclude='*.tar.gz.*' -czf - . 2>/dev/null | split -b 15000000 -d - "$archive.new." || return
    rm -f "$archive".tar.gz.*
    for f in "$archive".new.*; do mv "$f" "$archive.tar.gz.${f##*.}"; done
) 9>/tmp/gpu_run.lock
trap pack EXIT
trap 'exit 143' TERM INT
left() { echo $((minutes * 60 - (SECONDS - start))); }
part() { # name, seconds at most, command...: output to OUT/name.log, cut to 4 MB
    local name=$1 most=$2 status=0
    shift 2
    [ "$(left)" -lt "$most" ] && most=$(left)
    [ "$most" -gt 5 ] || { echo "$name: no time left" | tee -a "$out/summary.txt"; failed="$failed $name"; return 1; }
    timeout --kill-after=10 "$most" "$@" >"$out/$name.log" 2>&1 || status=$?
    [ "$(stat -c %s "$out/$name.log")" -le 4000000 ] || { tail -c 4000000 "$out/$name.log" >"$out/$name.cut" && mv "$out/$name.cut" "$out/$name.log"; }
    echo "$name: exit status $status after $((SECONDS - start)) s" | tee -a "$out/summary.txt"
    pack
    [ $status -eq 0 ] || failed="$failed $name"
    return $status
}

{ nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv 2>&1; $bin/infinibench --version --backend cuda; uname -a; cat COMMIT 2>/dev/null; } >"$out/machine.txt" 2>&1
cat "$out/machine.txt"
grep -q '^backend *cuda' "$out/machine.txt" || { echo "gpu_run.sh: the CUDA backend does not start here (see $out/machine.txt)" >&2; exit 1; }

step_test() { # one by one: a call that fails stops the program, and should not take the other tests along
    local name
    for name in no_slot_is_empty memory_and_copies table_fp32 table_tf32 table_bf16 checkpoints_pass training_fp32 training_tf32 table_manners large_sizes; do
        part test_$name 120 env CUDA_REQUIRED=1 $test_binary -t $name
    done
}

step_sanitize() {
    local sanitizer tool
    sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
    if [ -x "$sanitizer" ]; then
        for tool in memcheck racecheck; do
            part sanitizer_$tool 120 env CUDA_REQUIRED=1 TEST_EVERY=29 "$sanitizer" --tool $tool --error-exitcode 9 $test_binary
        done
    else
        echo "sanitizer: compute-sanitizer is not here" | tee -a "$out/summary.txt"
    fi
}

step_bench() { # what the goals are about first: TF32 and a million tokens
    local products arch
    part bench_stream 120 $bin/infinibench --backend cuda bench stream --preset small --only infini --context 32768,262144,1048576 --csv "$out/stream.csv"
    for products in tf32 bf16; do
        part bench_kernels_small_$products 60 $bin/infinibench --backend cuda --products $products bench kernels --preset small --csv "$out/kernels_small_$products.csv"
        part bench_train_small_$products 200 $bin/infinibench --backend cuda --products $products bench train --preset small --csv "$out/train_small_$products.csv"
        part bench_kernels_paper_$products 60 $bin/infinibench --backend cuda --products $products bench kernels --preset paper --batch 1 --segments 4 --csv "$out/kernels_paper_$products.csv"
        for arch in infini transformer; do
            part bench_train_paper_${arch}_$products 90 $bin/infinibench --backend cuda --products $products bench train --preset paper --batch 1 --segments 4 --only $arch --csv "$out/train_paper_${arch}_$products.csv"
        done
    done
}

# Ours before and after the peers: clocks and temperature of one device change in minutes.
ours() {
    for arch in infini transformer; do
        part ours_$1_$arch 60 $bin/infinibench --backend cuda bench train --preset small --only $arch --csv "$out/ours_$1_$arch.csv"
    done
}
step_peers() {
    local preset archs arch run most
    ours before
    for preset in small paper; do
        archs="infini-linear infini-delta infini-none transformer"
        [ $preset = small ] || archs="infini-linear transformer"
        most=$(left)
        for arch in $archs; do # compiled side by side, for the compiler's own cache: the measured runs find the code there
            [ "$most" -gt 5 ] || break
            timeout --kill-after=10 $((most < 240 ? most : 240)) "$python" scripts/peers/torch_peer.py --preset $preset --arch $arch --seconds 0 --warmup 2 --variant device=cuda,style=plain,run=compile,optimizer=fused >"$out/compiling_${preset}_$arch.log" 2>&1 &
        done
        wait
        for arch in $archs; do
            for run in threads compile; do
                part peer_${preset}_${arch}_$run 120 "$python" scripts/peers/torch_peer.py --preset $preset --arch $arch --seconds 5 --variant device=cuda,style=plain,run=$run,optimizer=fused
            done
        done
    done
    ours after
    grep -h '^{' "$out"/peer_*.log >"$out/peers.jsonl"
}

step_experiment() {
    # Saving a model and its optimizer is a third of a gigabyte: into memory where there is room.
    local checkpoints=build/checkpoints packer
    if [ -w /dev/shm ] && [ "$(df --output=avail /dev/shm | tail -1)" -gt 30000000 ]; then checkpoints=/dev/shm/infinibench; fi
    (trap - EXIT; while sleep 60; do pack; done) &
    packer=$!
    part "$experiment" "$(($(left) - 20))" $bin/infinibench --backend cuda run "tasks/experiments/$experiment.ini" --out "$out/$experiment" --checkpoints "$checkpoints" ||
        echo "$experiment is not finished; run again with the same OUT" | tee -a "$out/summary.txt"
    kill $packer
    $bin/infinibench report "$out/$experiment" >"$out/$experiment.report.txt" 2>&1
}

for step in $steps; do "step_$step"; done
[ -z "$failed" ] || { echo "not finished or failed:$failed"; exit 1; }
