# download_lib.sh - what the download scripts share: messages, checksums, progress; sourced, does nothing by itself.
# shellcheck shell=sh
LC_ALL=C
export LC_ALL
me=$(basename "$0")
quiet=no
progress_shown=no

say() {
    progress_end
    [ "$quiet" = yes ] || echo "$*"
}
# die STATUS SENTENCE: 1 a check failed, 2 bad usage or a place that cannot be reached.
die() {
    status=$1
    shift
    progress_end
    echo "$me: $*" >&2
    exit "$status"
}
sha256_of() {
    if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d ' ' -f 1
}
size_of() { echo $(($(wc -c <"$1"))); }
megabytes() { awk -v n="$1" 'BEGIN { printf "%.1f MB", n / 1e6 }'; }

# progress_begin TOTAL; progress DONE NEW WORDS: said from the second second on, in one line on a terminal, else a line every 10 s.
# NEW is the part of DONE that took time; what was there already does not enter the ETA.
progress_begin() {
    progress_total=$1
    progress_start=$(date +%s)
    progress_last=$progress_start
}
progress() {
    [ "$quiet" = yes ] && return 0
    progress_now=$(date +%s)
    elapsed=$((progress_now - progress_start))
    [ "$elapsed" -ge 2 ] || return 0
    if [ ! -t 2 ]; then
        [ $((progress_now - progress_last)) -ge 10 ] || return 0
    fi
    progress_last=$progress_now
    left=$(awk -v t="$progress_total" -v d="$1" -v n="$2" -v e="$elapsed" 'BEGIN {
        if (n <= 0 || d >= t) exit
        s = int(e * (t - d) / n + 0.5)
        if (s < 60) printf ", %d s left", s
        else if (s < 3600) printf ", %d min %02d s left", s / 60, s % 60
        else printf ", %d h %02d min left", s / 3600, s % 3600 / 60
    }')
    if [ -t 2 ]; then
        printf '\r\033[K%s%s' "$3" "$left" >&2
        progress_shown=yes
    else
        echo "$3$left" >&2
    fi
}
progress_end() {
    [ "$progress_shown" = yes ] && printf '\r\033[K' >&2
    progress_shown=no
}
