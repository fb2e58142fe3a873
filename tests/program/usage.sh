#!/bin/bash
# usage.sh - bad usage and bad experiments: exit status 2 and one line that says what to do.
. "$(dirname "$0")/lib.sh"
make_corpus corpus

# commands and options
wrong "unknown command 'evaal'.*'eval'" evaal
wrong "unknown command 'zzzzzz'.*help" zzzzzz
wrong "unknown list 'architecture'.*'architectures'" list architecture
wrong "unknown option '--modle'.*'--model'" logits --modle x
wrong "model.*needed|--model" logits --input x --output y
wrong "operand is missing.*usage" run
wrong "one operand too many" info a b
wrong "whole number" run x.ini --jobs none
wrong "--threads" --threads 0 list
wrong "unknown backend 'cudo'.*'cuda'" --backend cudo list
wrong "products.*cuda" --products bf16 list
CUDA_VISIBLE_DEVICES='' wrong "no usable GPU.*cpu|built without the CUDA backend" --backend cuda list
CUDA_VISIBLE_DEVICES='' wrong "unknown --products 'fp8'" --backend cuda --products fp8 list
wrong "unknown task 'language_modelling'.*'language_modeling'" eval language_modelling --model x
wrong "unknown bench 'kernel'.*'kernels'" bench kernel
wrong "unknown preset 'mikro'.*micro" bench train --preset mikro
wrong "nosuch.ini" run nosuch.ini
right list
holds "list names the architectures" grep -q "infini" out.txt
right help
right --version
holds "--version names flags and libraries" grep -q "OpenBLAS" out.txt

# what is wrong is said before any work: places that cannot be written, lists, files
wrong "unknown task 'nosuch'; tasks: language_modeling, passkey" eval nosuch
INFINIBENCH_ISA=foo wrong "INFINIBENCH_ISA 'foo' is not base, v3 or v4" list presets
INFINIBENCH_ISA=base right list presets
wrong "unknown option '--stem'; did you mean '--no-stem'" rouge --stem
wrong "--csv: cannot write nowhere/x.csv: there is no folder nowhere" eval passkey --model none.safetensors --csv nowhere/x.csv
wrong "--csv: cannot write nowhere/x.csv" rouge --candidate none --reference none --csv nowhere/x.csv
wrong "--csv: cannot write nowhere/x.csv" memory --context 1K --csv nowhere/x.csv
wrong "--context 'x'" bench stream --context x
holds "nothing is measured before that" test ! -s out.txt
wrong "nosuch.jsonl" bench rouge --jsonl nosuch.jsonl
holds "no heading is printed before that" test ! -s out.txt

# a results folder that is not there; the file beside the expectations
wrong "there is no folder nosuch; it should be one that .infinibench run. has written" report nosuch
wrong "there is no folder nosuch" compare nosuch nosuch
make_experiment y.ini 2
echo >file
"$BIN" --quiet run y.ini --only null --out y --checkpoints file 2>err.txt
holds "a place for models in training that cannot be made names the flag" grep -q "models in training are kept there.*--checkpoints DIR" err.txt
mkdir -p empty
wrong "cannot open empty/results.csv" report empty
wrong "rules.csv.*docs/ci.md.*--rules" check empty --against expected.csv --update

# help: every flag of a usage has its line; the environment; one architecture, one task
for command in $("$BIN" help | grep -v ' --help$' | sed -n 's/^  infinibench \([a-z]*\) .*/\1/p'); do
    right help "$command"
    for flag in $(sed -n '1s/[^-a-zA-Z]/ /gp' out.txt | tr ' ' '\n' | grep '^--[a-zA-Z]' | sort -u); do
        holds "help $command explains $flag" grep -q "^  $flag\( \|$\)" out.txt
    done
done
right help help
for name in INFINIBENCH_DATA INFINIBENCH_ISA OPENBLAS_CORETYPE OMP_NUM_THREADS; do
    holds "help names $name" grep -q "^  $name " out.txt
done
right eval passkey --help
holds "eval TASK --help has the task's options" grep -q "^    haystack " out.txt
holds "and no other task's" test "$(grep -c '^    wait\|^  recall' out.txt)" -eq 0
right eval --model x --help
wrong "unknown task 'paskey'; did you mean 'passkey'" eval paskey --help
right list tasks recall
holds "list tasks NAME lists one" test "$(grep -c '^  [a-z_]*, version' out.txt)" -eq 1
right list architectures infini
holds "list architectures NAME lists one" test "$(grep -c '^  [a-z_]*: ' out.txt)" -eq 1
wrong "unknown architecture 'infinii'; did you mean 'infini'" list architectures infinii
wrong "list presets takes no name" list presets nano
right list keys
for key in 'source' 'lr' 'segments' 'weight_decay' 'part_of' 'kv_heads' 'start'; do
    holds "list keys has $key" grep -q "^    $key " out.txt
done

# experiments: the sentence names file, line and the nearest name
base() { make_experiment x.ini 2; }
edit() { # sed program, pattern
    base
    sed -i "$1" x.ini
    wrong "$2" run x.ini --out res
}
edit 's/architecture = infini/architecture = infinity/' "x.ini:[0-9]+: .*'infinity'.*infini"
edit 's/update = delta/updatte = delta/' "x.ini:[0-9]+: .*'updatte'.*'update'"
edit 's/update = delta/update = dleta/' "x.ini:[0-9]+.*'dleta'.*delta"
edit 's/preset = nano/preset = nanno/' "x.ini:[0-9]+: .*'nanno'.*'nano'"
edit 's/warmup = 2/warmupp = 2/' "x.ini:[0-9]+: .*'warmupp'.*'warmup'"
edit 's/warmup = 2/warmup = two/' "x.ini:[0-9]+.*warmup.*'two'"
edit 's/steps = 2/steps = -2/' "x.ini:[0-9]+.*steps.*-2"
edit 's/\[stage train\]/[stge train]/' "x.ini:[0-9]+: .*'?stge.*stage"
edit 's/\[task language_modeling\]/[task language_model]/' "x.ini:[0-9]+: .*'language_model'.*'language_modeling'"
edit 's/^corpus = /korpus = /' "x.ini:[0-9]+: .*'korpus'.*'corpus'"
edit 's/^source = .*/source = kjw/' "'kjw'.*'kjv'"
base
wrong "row 'infinii'.*infini" run x.ini --only infinii --out res
wrong "infinii.*infini" train x.ini --row infinii --out y.safetensors
wrong "row" train x.ini --out y.safetensors
wrong "infin'; the nearest is 'infini'" run x.ini --only infin --out res
for dry in "" --dry-run; do # shellcheck disable=SC2086
    wrong "--out: cannot write nowhere/y.safetensors: there is no folder nowhere" train x.ini --row infini --out nowhere/y.safetensors $dry
    wrong "x.ini has no seed 42; add it to seeds in .experiment." train x.ini --row infini --seed 42 --out y.safetensors $dry
    wrong "x.ini has no stage 'trian'; the nearest is 'train'" train x.ini --row infini --stage trian --out y.safetensors $dry
done
# a plan of data that are not here says so
sed -i 's,^source = .*,source = ./gone,' x.ini
wrong "x.ini cannot run: there is no corpus at ./gone" run x.ini --dry-run --out res
holds "the plan is printed all the same" grep -q "^\[row infini\]" out.txt
holds "with what is not here" grep -q "^not here: there is no corpus at ./gone" out.txt
wrong "x.ini cannot run: there is no corpus at ./gone" train x.ini --row infini --dry-run
base
sed -i 's,^corpus = .*,corpus = ./gone,' x.ini
wrong "x.ini cannot run: .*gone" run x.ini --dry-run --out res
right train x.ini --row infini --dry-run # reads no task's corpus

# impossible shapes
shape() { # line, pattern
    make_experiment x.ini 2 "$1"
    wrong "$2" run x.ini --out res
}
shape "heads = 3" "d_model = 64.*heads = 3|heads = 3"
shape "$(printf 'head_dim = 31')" "head_dim = 31.*odd|odd"
shape "$(printf 'heads = 4\nhead_dim = 16\nkv_heads = 3')" "heads = 4.*kv_heads = 3"
shape "layers = 0" "layers.*'0'"
shape "segment = 0" "segment.*'0'"
shape "vocab = 100" "vocab = 100.*256"
# more memory than any machine has, said with the bytes and before it is taken
make_experiment x.ini 2 "$(printf 'vocab = 256\nbatch = 100000')"
sed -i 's/^preset = nano/preset = paper/' x.ini
wrong "infini.*needs [0-9]{12,} bytes.*free" train x.ini --row infini --out y.safetensors
holds "nothing was written" test ! -e y.safetensors

finish
