#!/bin/bash
# gpu_run.sh OUT [EXPERIMENT] [MINUTES] - on a GPU machine, from an unpacked gpu-pack (or a checkout built with CUDA=1): tests, compute-sanitizer,
# benchmarks, peers, and with the time left an experiment (default table2-small). Everything goes into the folder OUT, whose files
# stay below 16 MB each; what there was no time for is said. Run it again with the same OUT and the experiment goes on.
# INFINIBENCH_PYTHON: the interpreter with PyTorch (default python3). STEPS: which parts, of "test sanitize bench peers experiment".
set -u
cd "$(dirname "$0")/.." || exit 2
[ $# -ge 1 ] || { echo "usage: scripts/gpu_run.sh OUT [EXPERIMENT] [MINUTES]" >&2; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
experiment=${2:-table2-small} minutes=${3:-25} start=$SECONDS
steps=${STEPS:-test sanitize bench peers experiment}
bin=bin
[ -x bin/infinibench ] || bin=build/release
test_binary=$bin/test_cuda
[ -x $test_binary ] || test_binary=$bin/tests/test_cuda
[ -x $bin/infinibench ] || { echo "gpu_run.sh: there is no program in bin/ or build/release; unpack gpu-pack.tar.gz or run make CUDA=1" >&2; exit 2; }
if [ -f data.tar.xz ] && [ ! -d data ]; then tar xJf data.tar.xz || exit 2; fi
[ -d data ] && export INFINIBENCH_DATA=$PWD/data
export TMPDIR=${TMPDIR:-/tmp}
failed=""

left() { echo $((minutes * 60 - (SECONDS - start))); }
wants() { case " $steps " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
part() { # name, seconds at most, command...: output to OUT/name.log, cut to 4 MB
    local name=$1 most=$2 status=0
    shift 2
    [ "$(left)" -lt "$most" ] && most=$(left)
    [ "$most" -gt 5 ] || { echo "$name: no time left" | tee -a "$out/summary.txt"; return 1; }
    timeout --kill-after=10 "$most" "$@" >"$out/$name.log" 2>&1 || status=$?
    [ "$(stat -c %s "$out/$name.log")" -le 4000000 ] || { tail -c 4000000 "$out/$name.log" >"$out/$name.cut" && mv "$out/$name.cut" "$out/$name.log"; }
    echo "$name: exit status $status after $((SECONDS - start)) s" | tee -a "$out/summary.txt"
    [ $status -eq 0 ] || failed="$failed $name"
    return $status
}

{ nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv 2>&1; $bin/infinibench --version --backend cuda; uname -a; } >"$out/machine.txt" 2>&1
cat "$out/machine.txt"
grep -q '^backend *cuda' "$out/machine.txt" || { echo "gpu_run.sh: the CUDA backend does not start here (see $out/machine.txt)" >&2; exit 1; }
if wants test; then part test_cuda 420 env CUDA_REQUIRED=1 $test_binary; fi
if wants sanitize; then
    sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
    if [ -x "$sanitizer" ]; then
        for tool in memcheck racecheck; do
            part sanitizer_$tool 240 "$sanitizer" --tool $tool --error-exitcode 9 env CUDA_REQUIRED=1 TEST_EVERY=7 $test_binary
        done
    else
        echo "sanitizer: compute-sanitizer is not here" | tee -a "$out/summary.txt"
    fi
fi
if wants bench; then
    for products in tf32 bf16; do
        part bench_kernels_small_$products 60 $bin/infinibench --backend cuda --products $products bench kernels --preset small --csv "$out/kernels_small_$products.csv"
        part bench_train_small_$products 120 $bin/infinibench --backend cuda --products $products bench train --preset small --csv "$out/train_small_$products.csv"
        part bench_kernels_paper_$products 60 $bin/infinibench --backend cuda --products $products bench kernels --preset paper --batch 1 --segments 4 --csv "$out/kernels_paper_$products.csv"
        part bench_train_paper_$products 120 $bin/infinibench --backend cuda --products $products bench train --preset paper --batch 1 --segments 4 --only infini --csv "$out/train_paper_$products.csv"
    done
    part bench_stream 120 $bin/infinibench --backend cuda bench stream --preset small --only infini --context 32768,262144,1048576 --csv "$out/stream.csv"
fi
if wants peers; then
    python=${INFINIBENCH_PYTHON:-python3}
    for preset in small paper; do
        for arch in infini-linear infini-delta infini-none transformer; do
            for run in threads compile; do
                part peer_${preset}_${arch}_$run 90 "$python" scripts/peers/torch_peer.py --preset $preset --arch $arch --seconds 5 --variant device=cuda,style=plain,run=$run,optimizer=fused
            done
        done
    done
    grep -h '^{' "$out"/peer_*.log >"$out/peers.jsonl"
fi
if wants experiment; then
    part "$experiment" "$(($(left) - 20))" $bin/infinibench --backend cuda run "tasks/experiments/$experiment.ini" --out "$out/$experiment"
    $bin/infinibench report "$out/$experiment" >"$out/$experiment.report.txt" 2>&1
fi
# Checkpoints of larger models are evaluated where they were trained and stay there.
find "$out" -type f -size +16000000c -print | while read -r f; do echo "larger than 16 MB, left out of what is brought back: $f"; done | tee -a "$out/summary.txt"
tar -C "$out" --exclude='*.safetensors' -cJf "$out.tar.xz" . && split -b 15000000 -d "$out.tar.xz" "$out.tar.xz." && rm "$out.tar.xz"
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
