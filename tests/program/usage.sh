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
