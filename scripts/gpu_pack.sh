#!/bin/bash
# gpu_pack.sh BUILD - makes build/gpu-pack.tar.gz: what a GPU machine without a package manager needs, beside its driver, CUDA toolkit and Python:
# the program, its GPU tests, the libraries beyond CUDA (carried beside them, found by rpath), the test corpora compressed to at
# most 40 MB, experiments, scripts. Unpack it anywhere and run scripts/gpu_run.sh there.
set -euo pipefail
[ $# -eq 1 ] && [ -x "$1/infinibench" ] || { echo "usage: scripts/gpu_pack.sh BUILD_FOLDER (build it with CUDA=1 first: make gpu-pack)" >&2; exit 2; }
cd "$(dirname "$0")/.."
build=$1 to=build/gpu-pack limit=$((40 * 1000 * 1000))
rm -rf "$to" && mkdir -p "$to/bin" "$to/lib" "$to/data"
for f in infinibench tests/test_cuda; do
    strip -o "$to/bin/$(basename "$f")" "$build/$f"
    # What belongs to the system stays there: the C library and its loader have to fit the machine.
    ldd "$build/$f" | awk '$3 ~ /^\// { print $3 }' | grep -Ev '/(libc|libm|libdl|librt|libpthread|ld-linux[^/]*)\.so' |
        while read -r library; do cp -nL "$library" "$to/lib/"; done
done
for f in "$to"/bin/*; do
    readelf -d "$f" | grep -q 'R.*PATH.*\$ORIGIN/../lib' ||
        { echo "gpu_pack.sh: $f does not look for its libraries beside it; build it with make gpu-pack" >&2; exit 1; }
    ! ldd "$f" | grep -E 'libcu|libnv' || { echo "gpu_pack.sh: $f needs CUDA libraries to start" >&2; exit 1; }
done
# Corpora: a folder per split; the first bytes of each book, as the experiments that go with them read them (limit = ...).
data=${INFINIBENCH_DATA:-../shared/data}
corpus() { # name, split, bytes of each file, most files
    local name=$1 split=$2 bytes=$3 most=$4 n=0 from
    for from in "$data/$name/$split"/*.t[xe][tx]; do
        [ -f "$from" ] && [ $n -lt "$most" ] || break
        mkdir -p "$to/data/$name/$split"
        head -c "$bytes" "$from" >"$to/data/$name/$split/$(basename "$from")"
        n=$((n + 1))
    done
    [ $n -gt 0 ] || echo "gpu_pack.sh: no $data/$name/$split; experiments on $name will not run there (INFINIBENCH_DATA names another place)"
}
corpus pg19 train 262144 400
corpus pg19 validation 65536 20
corpus pg19 test 65536 100
corpus math train 131072 150
corpus math test 65536 60
scripts/prepare_kjv.sh build/data/kjv
mkdir -p "$to/data/kjv" && cp -r build/data/kjv/. "$to/data/kjv/"
XZ_OPT=-T0 tar -C "$to" -cJf "$to/data.tar.xz" data
rm -rf "$to/data"
size=$(stat -c %s "$to/data.tar.xz")
[ "$size" -le $limit ] || { echo "gpu_pack.sh: the corpora are $size bytes compressed, more than $limit; take fewer books" >&2; exit 1; }
cp -r scripts tasks tests/ref "$to/"
cp -r --parents docs/tensors.md "$to/"
git rev-parse HEAD >"$to/COMMIT"
tar -C build -czf build/gpu-pack.tar.gz gpu-pack
echo "build/gpu-pack.tar.gz: $(stat -c %s build/gpu-pack.tar.gz) bytes, of them corpora $size; there: tar xf gpu-pack.tar.gz && cd gpu-pack && scripts/gpu_run.sh OUT"
