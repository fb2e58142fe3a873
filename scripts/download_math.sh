#!/bin/sh
# download_math.sh [--quiet] [--keep-sources] DIR - the mathematics corpus, DIR/{train,validation,test}/NAME.tex, from public git repositories
# at fixed commits (scripts/data/math_sources.tsv). Needs git.
#
# The commit is the checksum of a source. How a document is prepared, by the column `preparation` of scripts/data/math_documents.tsv:
#   plain     the file
#   expand    the file, with \input{X} and \include{X} replaced by the files, in depth
#   join      the files that it names in \input{X} and \include{X}, macros and front matter left out, one after the other
#   olimport  the file, with \olimport[FOLDER]{X} replaced by the files, in depth
# then: paragraphs that hold a licence are dropped, paragraphs are set apart by one blank line, lines that are only a comment are dropped,
# which leaves at most 2 blank lines in a row, and blanks at the ends of lines are stripped.
# The documents are compared with the SHA-256 of those that the committed results were made with. What differs is kept, named, and makes the
# exit status 1.
#
# A repository that is there at its commit is not asked for again; they are removed when all documents are right (or --keep-sources).
# DIR/documents.tsv says where each document comes from and under which licence. INFINIBENCH_MATH_URL names another place of the
# repositories than https://github.com, INFINIBENCH_LISTS another folder of lists (for tests).
# Exit status: 0 all documents are as in the list, 1 some differ, 2 bad usage or a place that cannot be reached.
# shellcheck disable=SC1091,SC2034,SC2154
set -eu
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/download_lib.sh
. "$here/download_lib.sh"
url=${INFINIBENCH_MATH_URL:-https://github.com}
lists=${INFINIBENCH_LISTS:-$here/data}
usage="usage: scripts/download_math.sh [--quiet] [--keep-sources] DIR"

out='' keep=no
while [ $# -gt 0 ]; do
    case $1 in
    --quiet) quiet=yes ;;
    --keep-sources) keep=yes ;;
    -h | --help) echo "$usage"; exit 0 ;;
    -*) die 2 "there is no option '$1'; $usage" ;;
    *) [ -z "$out" ] || die 2 "two folders are named, '$out' and '$1'; $usage"; out=$1 ;;
    esac
    shift
done
[ -n "$out" ] || die 2 "no folder is named; $usage"
for list in math_sources.tsv math_documents.tsv; do [ -r "$lists/$list" ] || die 2 "cannot read $lists/$list"; done
created=no
[ -e "$out" ] || created=yes
if ! mkdir -p "$out" 2>/dev/null || [ ! -w "$out" ]; then die 2 "cannot write to the folder $out"; fi
out=$(cd "$out" && pwd)
sources=$out/.sources
tmp=$(mktemp -d)
part=
# A folder in which nothing came to be is not left behind.
trap 'rm -rf "$tmp" ${part:+"$part"}; rmdir "$sources" 2>/dev/null || :; [ $created = no ] || rmdir "$out" 2>/dev/null || :' EXIT
trap 'progress_end; echo "$me: stopped; the same command goes on from here" >&2; exit 130' HUP INT TERM

# ---- preparation ----

# expand MODE ROOT FILE: FILE of the repository at ROOT, see above; on standard output.
expand() {
    awk -v mode="$1" -v root="$2" -v main="$3" '
    function content(path,   text, rc, old) {
        old = RS
        RS = "\001" # in no text: the file is one record
        text = ""
        rc = (getline text < (root "/" path))
        close(root "/" path)
        RS = old
        found = rc >= 0
        return text
    }
    function put(path,   text, pattern, before, command, line, name, folder, inner, have) {
        text = content(path)
        pattern = mode == "olimport" ? "\\\\olimport([[][^]]*[]])?[{][^}]*[}]" : "\\\\(input|include)[{][^}]*[}]"
        while (match(text, pattern)) {
            before = substr(text, 1, RSTART - 1)
            command = substr(text, RSTART, RLENGTH)
            text = substr(text, RSTART + RLENGTH)
            printf "%s", mode == "join" ? "" : before
            line = before
            sub(/.*\n/, "", line)
            name = command
            sub(/.*[{]/, "", name)
            sub(/[}]$/, "", name)
            if (mode == "olimport") {
                folder = path
                if (!sub(/[^\/]*$/, "", folder)) folder = ""
                if (match(command, /[[][^]]*[]]/)) folder = folder substr(command, RSTART + 1, RLENGTH - 2) "/"
                name = folder name
            }
            if (name !~ /[.]tex$/) name = name ".tex"
            have = 0
            if (line !~ /(^|[^\\])%/ && !(mode == "join" && name ~ /^(macros|front)[.]tex$/)) {
                inner = content(name)
                have = found
                if (have && mode == "join") printf "%s\n\n", inner
                else if (have) put(name)
            }
            if (!have && mode != "join") printf "%s", command
        }
        if (mode != "join") printf "%s", text
    }
    BEGIN {
        content(main)
        if (!found) exit 1
        if (mode == "plain") printf "%s", content(main)
        else put(main)
    }'
}
# clean: drops licence paragraphs and comment-only lines; see above.
clean() {
    tr -d '\r' | awk '
    function paragraph(   i, text) {
        if (!n) return
        text = ""
        for (i = 1; i <= n; i++) text = text " " line[i]
        if (text !~ /[Cc]reative ?[Cc]ommons|[Ll]icensed under|GNU (General|Free|GPL)|[Pp]ermission is granted|[Aa]ll rights reserved/) {
            if (printed) blanks++
            for (i = 1; i <= n; i++) {
                if (line[i] ~ /^[ \t]*%/) continue
                for (; blanks > 0 && printed; blanks--) if (blanks <= 2) print ""
                blanks = 0
                sub(/[ \t\f\v]+$/, "", line[i])
                print line[i]
                printed = 1
            }
        }
        n = 0
    }
    /^[ \t\f\v]*$/ { paragraph(); next }
    { line[++n] = $0 }
    END { paragraph() }'
}

# ---- documents that are right already ----

awk 'NR > 1' "$lists/math_documents.tsv" >"$tmp/documents"
count=$(($(wc -l <"$tmp/documents")))
[ "$count" -gt 0 ] || die 2 "$lists/math_documents.tsv names no document"
progress_begin "$count"
right() { [ -f "$1" ] && [ "$(sha256_of "$1")" = "$2" ]; }
while IFS='	' read -r split name bytes sum how repository path; do
    right "$out/$split/$name.tex" "$sum" || printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$split" "$name" "$bytes" "$sum" "$how" "$repository" "$path"
done <"$tmp/documents" >"$tmp/missing"

# ---- sources ----

needed() { awk -F '\t' -v r="$1" '$6 == r { found = 1 } END { exit !found }' "$tmp/missing"; }
# at COMMIT FOLDER: it is checked out there, unchanged.
at() {
    case $(git -C "$2" rev-parse HEAD 2>/dev/null) in "$1"*) [ -z "$(git -C "$2" status --porcelain --untracked-files=no 2>&1)" ] ;; *) false ;; esac
}
# git_step WORDS COMMAND...: dies with git's own last words.
git_step() {
    words=$1
    shift
    if ! GIT_TERMINAL_PROMPT=0 git "$@" >"$tmp/git" 2>&1; then
        die 2 "$words ($(grep -E '^(fatal|error):' "$tmp/git" | tail -n 1 || true));" \
            "without a network, set INFINIBENCH_DATA to a folder that holds math/, or use ../shared/data where it exists"
    fi
}
if [ -s "$tmp/missing" ]; then
    command -v git >/dev/null 2>&1 || die 2 "git is missing; apt-get install git (or make deps)"
    mkdir -p "$sources"
    awk 'NR > 1' "$lists/math_sources.tsv" >"$tmp/sources"
    total=$(($(wc -l <"$tmp/sources"))) i=0
    # On another descriptor: git must not read the list.
    while IFS='	' read -r repository commit rest <&3; do
        i=$((i + 1))
        needed "$repository" || continue
        folder=$sources/$(basename "$repository")
        at "$commit" "$folder" && continue
        rm -rf "$folder"
        part=$folder.part
        rm -rf "$part"
        say "$url/$repository at $commit ($i of $total)"
        # Without the contents of other commits, and only the .tex files, where the server can do that; the commit is given by its first digits,
        # hence the history.
        git_step "$url/$repository was not reached" -c core.autocrlf=false clone --quiet --no-checkout --filter=blob:none \
            "$url/$repository" "$part"
        git_step "$url/$repository has no commit $commit" -C "$part" rev-parse --quiet --verify "$commit^{commit}"
        commit=$(cat "$tmp/git")
        git -C "$part" config core.autocrlf false
        git -C "$part" config core.sparseCheckout true
        mkdir -p "$part/.git/info"
        echo '*.tex' >"$part/.git/info/sparse-checkout"
        git_step "the files of $url/$repository were not reached" -C "$part" checkout --quiet --detach "$commit"
        mv "$part" "$folder"
        part=
    done 3<"$tmp/sources"
fi

# ---- documents ----

different=0 new=0
: >"$tmp/different"
while IFS='	' read -r split name bytes sum how repository path; do
    mkdir -p "$out/$split"
    part=$out/$split/.$name.tex.part
    source=$sources/$(basename "$repository")
    [ -e "$source" ] || die 2 "$lists/math_sources.tsv does not name $repository, of which $name is made"
    expand "$how" "$source" "$path" >"$tmp/text" || die 2 "$repository holds no $path, of which $name is made"
    clean <"$tmp/text" >"$part"
    got=$(sha256_of "$part")
    if [ "$got" != "$sum" ]; then
        different=$((different + 1))
        echo "$out/$split/$name.tex differs: got $(size_of "$part") bytes, SHA-256 $got, expected $bytes bytes, $sum" >>"$tmp/different"
    fi
    mv "$part" "$out/$split/$name.tex"
    part=
    new=$((new + 1))
    progress $((count - $(wc -l <"$tmp/missing") + new)) $new "$new of $(($(wc -l <"$tmp/missing"))) documents"
done <"$tmp/missing"

# The licences ask for attribution: it goes with the documents.
awk -F '\t' 'FNR == NR { if (FNR > 1) about[$1] = $2 "\t" $3 "\t" $4 "\t" $5; next }
    FNR == 1 { print "split\tname\tbytes\tsha256\trepository\tpath\tcommit\ttitle\tauthors\tlicence"; next }
    { print $1 "\t" $2 "\t" $3 "\t" $4 "\t" $6 "\t" $7 "\t" about[$6] }' "$lists/math_sources.tsv" "$lists/math_documents.tsv" >"$tmp/table"
cmp -s "$tmp/table" "$out/documents.tsv" || cp "$tmp/table" "$out/documents.tsv"
if [ "$different" -gt 0 ]; then
    progress_end
    cat "$tmp/different" >&2
    die 1 "$different of $count documents differ from those of the committed results; they are kept, but numbers made on them compare with care"
fi
[ $keep = yes ] || rm -rf "$sources"
say "$out: $count documents, SHA-256 as in the list; $new new"
