#!/bin/sh
# deps.sh - installs what is missing to build and test (Debian, Ubuntu); silent when all is there. CUDA and Python are not needed.
packages="gcc g++ make pkg-config git curl ca-certificates libc6-dev libopenblas-dev libcsv-dev zlib1g-dev gnuplot-nox libinih-dev libjansson-dev libxxhash-dev libcmocka-dev libsentencepiece-dev sentencepiece bible-kjv"

if ! command -v dpkg-query >/dev/null 2>&1 || ! command -v apt-get >/dev/null 2>&1; then
    # Another system: go by what the compiler and the shell can find.
    missing=""
    for tool in "${CC:-cc}" make git curl gnuplot spm_train; do command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"; done
    for header in cblas.h csv.h zlib.h ini.h jansson.h xxhash.h; do
        printf '#include <%s>\n' "$header" | "${CC:-cc}" -E -x c - >/dev/null 2>&1 || missing="$missing $header"
    done
    printf '#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <cmocka.h>\n' |
        "${CC:-cc}" -E -x c - >/dev/null 2>&1 || missing="$missing cmocka.h"
    printf '#include <sentencepiece_processor.h>\n' | "${CXX:-c++}" -std=c++17 -E -x c++ - >/dev/null 2>&1 ||
        missing="$missing sentencepiece_processor.h"
    PATH="$PATH:/usr/games" command -v bible >/dev/null 2>&1 || [ -d build/data/kjv/train ] || missing="$missing bible(bible-kjv)"
    [ -z "$missing" ] && exit 0
    echo "deps.sh: this is no Debian or Ubuntu; please install what gives:$missing" >&2
    echo "deps.sh: that is a C and a C++ compiler, make, git, curl, gnuplot, OpenBLAS, libcsv, zlib, inih, jansson, xxHash, SentencePiece" >&2
    echo "deps.sh: (library and programs), cmocka, all with their headers," >&2
    echo "deps.sh: and the text of Debian's bible-kjv package, or build/data/kjv copied from another machine" >&2
    exit 2
fi

# shellcheck disable=SC2086
missing=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
    awk -v want="$packages" '$1 == "installed" { have[$2] = 1 } END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) printf "%s ", w[i] }')
# Another gnuplot or compiler than the package of that name is as good.
for pair in gnuplot-nox:gnuplot gcc:"${CC:-gcc}" g++:"${CXX:-g++}" make:make git:git curl:curl pkg-config:pkg-config; do
    case " $missing " in *" ${pair%%:*} "*) command -v "${pair#*:}" >/dev/null 2>&1 && missing=$(echo " $missing " | sed "s/ ${pair%%:*} / /") ;; esac
done
missing=$(echo $missing)
[ -z "$missing" ] && exit 0

sudo=""
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null 2>&1; then
        sudo=sudo
    else
        echo "deps.sh: missing: $missing" >&2
        echo "deps.sh: there is no sudo; as root run: apt-get install --no-install-recommends $missing" >&2
        exit 2
    fi
fi
echo "installing $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists may be empty or old: ask for them once if the first try fails.
# shellcheck disable=SC2086
if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1; then
    $sudo apt-get update >>"$log" 2>&1 || true
    if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >>"$log" 2>&1; then
        cat "$log" >&2
        echo "deps.sh: could not install: $missing" >&2
        exit 2
    fi
fi
