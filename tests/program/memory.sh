#!/bin/bash
# memory.sh - infinibench memory: the paper's column, models of any shape, CSV, bad input; the task in an experiment without a stage.
. "$(dirname "$0")/lib.sh"

# Table 2's memory column: elements, our exact ratio, the paper's size and ratio
right memory --preset paper --context 65000
row() { # model, pattern
    holds "$1: $2" grep -Eq "^$1 .*$2" out.txt
}
row "Transformer-XL" " 50,331,648 .* 24,576 +3.64 +50M +3.7x$"
row "Memorizing Transformers" " 183,451,648 .* 65,000 +1 +183M +1x$"
row "RMT" " 2,457,600 .* 65,000 +74.6 +2.5M +73x$"
row "Infini-Transformers" " 1,585,152 .* 65,000 +115.7 +1.6M +114x$"
row "Transformer \(KV cache\)" " 1,597,440,000 +6,389,760,000 +6.39 GB +6.0 GiB "
row "Infini-Transformers" " d_key·\(d_value \+ 1\)·H·l +N·S +Incremental +linear attention$"
# the paper's numbers stand beside its own shape only
right memory --preset paper --context 64000
holds "no number of the paper at another length" test "$(grep -c '3.7x' out.txt)" -eq 0
right memory --preset paper --context 65000 --segment 1024
holds "no number of the paper at another shape" test "$(grep -c '3.7x' out.txt)" -eq 0

# a model of 500 billion parameters: 126 GB
right memory --layers 96 --d-model 16384 --bytes 2 --context 20000
row "Transformer \(KV cache\)" " 62,914,560,000 +125,829,120,000 +126 GB +117 GiB "
right memory --layers 96 --d-model 16384 --bytes 2 --context 20000 --batch 512 --csv m.csv
holds "a batch of 512 in the CSV" grep -q "^,Transformer (KV cache),(d_key + d_value)·H·N·S·l,20000,62914560000,2,512,64424509440000," m.csv
# what a million tokens cost
right memory --preset llama-3-8b --context 8K,128K,1M --csv m.csv
row "Transformer \(KV cache\)" " 1.07 GB +17.2 GB +137 GB$"
row "Infini-Transformers" " 8.45 MB +8.45 MB +8.45 MB$"
holds "the CSV has every row at every context" test "$(grep -c '^llama-3-8b,' m.csv)" -eq "$((3 * $(grep -c '^llama-3-8b,.*,8192,' m.csv)))"
holds "the CSV is exact" grep -q "^llama-3-8b,Transformer (KV cache),.*,1048576,68719476736,2,1,137438953472,0.0332" m.csv
# options of an architecture change its row
right memory --preset paper --context 65000 --memory_tokens 50 --window 4096
row "RMT" " 1,228,800 "
row "Transformer, window W" " 100,663,296 "
right list presets
holds "list presets names public models and the source of their shapes" grep -q "llama-3-8b.*config file meta-llama" out.txt

wrong "context is needed.*usage" memory
wrong "heads '0'" memory --context 1K --heads 0
wrong "heads = 6 is not a multiple of kv_heads = 4" memory --context 1K --heads 6 --kv-heads 4 --head-dim 8
wrong "1000 is not divisible by heads = 7" memory --context 1K --d-model 1000 --heads 7
wrong "context '-5': '-5'.*rising" memory --context -5
wrong "rising list" memory --context 4K,2K
wrong "exceed 2\^63" memory --context 9223372036854775807
wrong "layers '9223372036854775808' is beyond 2\^63" memory --context 1K --layers 9223372036854775808
wrong "context '1K,9000000000000M': '9000000000000M' is beyond 2\^63" memory --context 1K,9000000000000M
wrong "layers '9223372036854775808x' is not a whole number" memory --context 1K --layers 9223372036854775808x
wrong "exceed 2\^63.*smaller" memory --context 1K --layers 4611686018427387904 --heads 4611686018427387904 --head-dim 2
wrong "unknown preset 'lama-3-8b'.*'llama-3-8b'" memory --context 1K --preset lama-3-8b
wrong "option 'memory_token'.*'memory_tokens'" memory --context 1K --memory_token 5
wrong "option 'contxt'.*'context'" memory --contxt 5
wrong "memory changes no formula" memory --context 1K --memory 65000
wrong "layer changes no formula; leave it out, or did you mean '--layers'" memory --context 1K --layer 1
wrong "memory_tokens = -2 is out of range" memory --context 1K --memory_tokens -2
wrong "rate = 'x'" memory --context 1K --rate x

# the plan of Table 2 at the paper's size: by formula, carried, attended; it is told before a missing corpus ends it
"$BIN" --quiet run "$ROOT/tasks/experiments/table2-paper.ini" --dry-run --out paper >plan.txt 2>/dev/null
planned() { # row, tokens, by formula, carried, attended: 12 layers of 1,024, segments of 2,048
    holds "the plan of $1 after $2 tokens" grep -Eq "after +$2 tokens: $3 elements by formula, carries $4 \(.*attends to $5 \(" \
        <(sed -n "/^\[row $1\]/,/to measure/p" plan.txt)
}
position=$((2 * 8 * 128 * 12)) # keys and values of all layers
planned rmt 32768 2457600 102400 $(((2048 + 100) * position))
planned compressive 32768 $((4096 * 1024 * 12)) $((4096 * 1024 * 12)) $((3 * 2048 * position))
planned autocompressor 32768 $((1024 * 50 * 16 * 12)) $((16 * 50 * 1024)) $(((2048 + 15 * 50) * position))
planned autocompressor 1048576 $((1024 * 50 * 512 * 12)) $((16 * 50 * 1024)) $(((2048 + 16 * 50) * position))
planned infini_linear 32768 1585152 1585152 $((2048 * position + 1585152))

# the task: without a stage, and on a model
cat >m.ini <<'INI'
[budget]
preset = nano
[row transformer_xl]
architecture = transformer_xl
[row infini]
architecture = infini
[task memory]
contexts = 1K, 3000, 1M
stream = 3000
resident = yes
shapes = paper
INI
right run m.ini --out res
value() { # row, condition, metric, context
    awk -F, -v r="$1" -v c="$2" -v m="$3" -v n="$4" '$4 == r && $11 == c && $12 == m && $14 == n { print $17 }' res/results.csv
}
holds "Transformer-XL carries a cache of layer inputs" test "$(value transformer_xl "" carried_elements 3000)" = "$((2 * 64 * 32))"
holds "its formula is twice that" test "$(value transformer_xl "" formula_elements 3000)" = "$((2 * 2 * 64 * 32))"
holds "3000 tokens leave 24 inputs open" test "$(value infini "" counter_bytes 3000)" = "$((20 + 24 * 4))"
holds "beyond the stream there is the formula only" test -z "$(value infini "" carried_elements 1048576)"
holds "the paper's shape" test "$(value infini shape=paper formula_elements 1048576)" = 1585152
holds "resident memory is measured" test "$(value infini "" resident_bytes 3000)" -gt 1000000
right report res
holds "the report has the footprint" grep -q "| infini | Infini-Transformers | d.*_key" res/report.md
if command -v gnuplot >/dev/null; then
    for f in memory-state memory-compression memory-resident memory-state-paper memory-compression-paper; do
        holds "$f is drawn" test -s "res/$f.svg" -a -s "res/$f.png"
    done
fi
# with many rows the key does not take the picture's room (in an SVG it went to two columns at its side)
{
    printf '[budget]\npreset = nano\n[task memory]\ncontexts = 64, 128\nresident = yes\nshapes = paper\n'
    for a in transformer transformer_xl memorizing infini rmt autocompressor rnn linear_attention delta_rule; do
        printf '[row %s]\narchitecture = %s\n' $a $a
    done
    for n in 1 2 3 4 5; do printf '[row infini_%s]\narchitecture = infini\nupdate = delta\n' $n; done
} >many.ini
right run many.ini --out many
right report many
if command -v gnuplot >/dev/null; then
    for f in memory-state memory-compression memory-resident memory-state-paper; do
        # the axes: M left,top L left,bottom L right,bottom
        holds "$f leaves the curves most of the width" awk -F"[ ,LM']+" '/stroke=.rgb\( 68/ && / d=.M/ { sub(/.* d=.M/, ""); split($0, x, /[ ,LM]+/)
            if (x[5] - x[1] > 500) wide = 1 } END { exit !wide }' many/$f.svg
    done
fi
right train m.ini --row infini --out m.safetensors
right eval memory --model m.safetensors --contexts 1K --shapes ""
holds "eval memory" grep -Eq "^carried_bytes .* 1024 .* 16896 " out.txt
wrong "rising list" eval memory --model m.safetensors --contexts 8K,2K
wrong "unknown preset 'papr'.*'paper'" eval memory --model m.safetensors --shapes papr
sed -i 's/^shapes = paper/shapes = papr/' m.ini
wrong "unknown preset 'papr'.*'paper'" run m.ini --out other

finish
