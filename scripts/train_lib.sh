# train_lib.sh - what the tokenizers of tasks share: begin TASK BYTES [PIECES] [OUT] lays the first BYTES of each book of the King James train
# split into the corpus and names root, work, pieces, out; the caller writes $work/lines; finish trains on both. Sourced, not run.
LC_ALL=C
export LC_ALL
strings() { sed -n '/sentences begin/,/sentences end/p' "$root/tasks/$1" | grep -o '"[^"]*"' | sed 's/^"//; s/"$//'; } # between the marks
begin() {
    task=$1 bytes=$2
    shift 2
    if [ $# -gt 2 ]; then
        echo "usage: scripts/train_${task}_tokenizer.sh [PIECES=640] [OUT]" >&2
        exit 2
    fi
    root=$(cd "$(dirname "$0")/.." && pwd)
    pieces=${1:-640}
    out=${2:-$root/tasks/data/$task-$pieces.model}
    mkdir -p "$(dirname "$out")"
    out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' HUP INT TERM
    "$root/scripts/prepare_kjv.sh" "$work/kjv"
    mkdir -p "$work/$task/train"
    for book in "$work"/kjv/train/*; do
        dd if="$book" bs="$bytes" count=1 of="$work/$task/train/$(basename "$book")" 2>/dev/null
    done
}
finish() { # train_tokenizer.sh takes 64 KB of each file
    split -C 60000 "$work/lines" "$work/$task/train/task-"
    "$root/scripts/train_tokenizer.sh" "$work/$task" "$pieces" "$out"
}
