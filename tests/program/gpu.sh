#!/bin/bash
# gpu.sh - what takes the program to a GPU, without one: scripts/gpu_run.sh with stand-ins for the program, its GPU tests and PyTorch, whose
# command lines the real ones judge; the make variables of the CUDA backend.
. "$(dirname "$0")/lib.sh"

# ---- gpu_run.sh ----

mkdir -p pack/bin modules/numpy modules/torch
cp -r "$ROOT/scripts" "$ROOT/tasks" pack/
# The real program reads the same words and stops at a CSV file or an experiment that is not there: so they are options that it has.
cat >pack/bin/infinibench <<SH
#!/bin/bash
words=() want= last=
for word in "\$@"; do
    case "\$last" in
    --backend | --products) unset 'words[-1]'; last= && continue ;;
    --csv) word=nowhere/x.csv want="cannot write nowhere/x.csv" ;;
    run) word=nosuch.ini want="nosuch.ini" ;;
    esac
    words+=("\$word") last=\$word
done
case "\${words[0]}" in
--version) echo "backend    cuda" && exit ;;
report) exit ;;
esac
"$BIN" --quiet "\${words[@]}" 2>&1 | grep -q "^infinibench: .*\$want" && echo "understood" && exit
echo "not understood: \${words[*]}"
exit 2
SH
cat >pack/bin/test_cuda <<'SH'
#!/bin/bash
[ "$1" != -t ] || [ "$2" != table_bf16 ] || kill -ABRT $$
echo "ran $2"
SH
# argparse has read everything when a peer imports torch.
echo "class ndarray: pass" >modules/numpy/__init__.py
printf 'import os, sys\nprint("{}")\nsys.stdout.flush()\nos._exit(0)\n' >modules/torch/__init__.py
chmod +x pack/bin/*
python=$(command -v python3 || echo true)
gpu_run() { # expected status, STEPS, MINUTES
    local found=0
    checks=$((checks + 1))
    rm -rf gpu gpu.tar.gz.*
    PYTHONPATH="$WORK/modules" INFINIBENCH_PYTHON=$python STEPS=$2 timeout 100 bash pack/scripts/gpu_run.sh "$WORK/gpu" table2-small "$3" >out.txt 2>err.txt || found=$?
    [ "$found" -eq "$1" ] || say_failed "gpu_run.sh with STEPS='$2' ends with $found, expected $1: $(tail -n 3 out.txt err.txt)"
}
gpu_run 0 "peers bench experiment" 5
holds "every command line is understood" test "$(grep -l understood gpu/*.log | xargs grep -L 'not understood' | wc -l)" -eq 16
holds "peers' too" test "$python" = true -o "$(wc -l <gpu/peers.jsonl)" -eq 12
holds "parts come in the order of STEPS" test "$(sed -n '1s/:.*//p;$s/:.*//p' gpu/summary.txt | xargs)" = "ours_before_infini table2-small"
holds "all of it is packed" test "$(tar tzf gpu.tar.gz.00 | grep -c 'log$')" -eq "$(find gpu -name '*.log' | wc -l)"
gpu_run 1 test 5
holds "a test that dies is said" grep -q "^not finished or failed: test_table_bf16$" out.txt
holds "and takes no other along" test "$(grep -l '^ran' gpu/test_*.log | wc -l)" -eq 9
names=$(sed -n 's/.*for name in \(.*\); do$/\1/p' "$ROOT/scripts/gpu_run.sh" | tr ' ' '\n' | sort)
holds "the script runs the tests that there are" test "$names" = "$(grep -o 'cmocka_unit_test([a-z_0-9]*' "$ROOT/tests/test_cuda.c" | cut -d'(' -f2 | sort)"
gpu_run 1 "experiment" 0
holds "what there is no time for is said" grep -q "^table2-small: no time left" gpu/summary.txt
gpu_run 2 "tests" 5
holds "a part that there is not is named" grep -q "STEPS has 'tests'" err.txt

# ---- make ----

says() { env -u MAKEFLAGS -u MFLAGS -u CONFIG -u CUDA -u CUDA_ARCH make -C "$ROOT" -n "$@" help >out.txt 2>err.txt; } # of its own, not of the make that tests
refuses() { # what it should say, make variables
    local pattern=$1
    shift
    checks=$((checks + 1))
    if says "$@" || ! grep -q "$pattern" err.txt; then say_failed "make $* does not say '$pattern'"; fi
}
refuses "choose auto, 0 or 1" CUDA=yes
refuses "CUDA_ARCH is empty" CUDA_ARCH=
refuses "nvcc was not found" CUDA=1 NVCC=
# A compiler that says what nvcc says where there is no GPU.
printf '#!/bin/bash\necho "nvcc warning : Cannot find valid GPU for '"'-arch=native'"', default arch is used" >&2\n' >nvcc
chmod +x nvcc
refuses "CUDA_ARCH=native: nvcc finds no GPU" CUDA=1 CUDA_ARCH=native NVCC="$WORK/nvcc"
holds "an architecture that is given needs none" says CUDA=1 CUDA_ARCH=90 NVCC="$WORK/nvcc"
finish
