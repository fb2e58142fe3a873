# writes.gp - exact match against the number of memory writes since the needle or pair was read, markers of a row, 95 % intervals. The
# markers are not joined: they hold different prompt lengths, positions and seeds.
# Called by `infinibench report` with: data output_file kind names colors marks twins zeros least most between
#   data: blocks of one row "row class writes value low high n", in per cent; without a write (zeros) at the left edge
keys = words(names)
load ARG0[1:strlen(ARG0) - strlen('writes.gp')] . 'style.gp'
rows = words(names)
set logscale x 2
edge = zeros ? least / 2.0 : least
place(x) = x > 0 ? x : edge
spread(r) = 2 ** ((r - (rows + 1) / 2.0) * (rows < 5 ? 0.07 : 0.28 / rows))
set xrange [edge / 1.3:most * 1.3]
set yrange [-3:103]
set ytics 0, 25, 100 format '%g %%'
set xlabel 'memory writes between ' . between
set ylabel 'exact match'
set errorbars 0
ticks = zeros ? sprintf("'0' %g", edge) : ''
many = log(most / least) / log(2) > 10 ? 2 : 1
do for [i = 0:24:many] {
    x = 2.0 ** i
    if (x >= least / 1.3 && x <= most * 1.3) {
        text = x < 1024 ? sprintf('%.0f', x) : x < 1048576 ? sprintf('%.0fK', x / 1024) : sprintf('%.0fM', x / 1048576)
        ticks = ticks . (strlen(ticks) ? ', ' : '') . sprintf("'%s' %g", text, x)
    }
}
unset mxtics
eval 'set xtics (' . ticks . ')'
plot for [r = 1:rows] data index r - 1 using (place($3) * spread(r)):4:5:6 with yerrorbars linecolor rgb color(r) linewidth 1.3 \
         pointtype marker(r) pointsize 0.7 * scale notitle, \
     for [r = 1:rows] keyentry with points linecolor rgb color(r) pointtype marker(r) pointsize 0.7 * scale \
         title word(names, r)
