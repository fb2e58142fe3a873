# quality.gp - bits per byte of whole documents against a cost on a logarithmic axis: bytes of carried state, or training FLOP.
# Called by `infinibench report` with: data output_file kind names colors marks state zeros least most
#   data: blocks of one row "row cost bits low high"; rows that carry no state (zeros of them) stand at the left edge
keys = words(names)
load ARG0[1:strlen(ARG0) - strlen('quality.gp')] . 'style.gp'
rows = words(names)
set logscale x
edge = zeros ? least / 8.0 : least / 1.6
set xrange [edge / (zeros ? 1.6 : 1.0):most * 1.6]
place(x) = x > 0 ? x : edge
set errorbars 0
set offsets 0, 0, graph 0.06, graph 0.06
set ylabel 'bits per byte'
if (state) {
    set xlabel 'carried state (bytes)'
    ticks = zeros ? "'0' " . sprintf('%g', edge) : ''
    do for [i = 0:12] {
        bytes = 4.0 ** i * 1024
        if (bytes >= least / 2 && bytes <= most * 1.6) {
            text = bytes < 1048576 ? sprintf('%.0f KiB', bytes / 1024) : sprintf('%.0f MiB', bytes / 1048576)
            ticks = ticks . (strlen(ticks) ? ', ' : '') . sprintf("'%s' %g", text, bytes)
        }
    }
    unset mxtics
    eval 'set xtics (' . ticks . ')'
} else {
    set xlabel 'FLOP of a training run'
    set format x '%.1s %c'
    if (most / least < 12) {
        unset logscale x
        set xrange [0:most * 1.08]
    }
}
plot for [r = 1:rows] data index r - 1 using (place($2)):3:4:5 with yerrorbars linecolor rgb color(r) linewidth 1.5 \
         pointtype marker(r) pointsize 0.9 * scale notitle, \
     for [r = 1:rows] keyentry with points linecolor rgb color(r) pointtype marker(r) pointsize 0.7 * scale \
         title word(names, r)
