# capacity.gp - estimated number of stored pairs against the number presented, a curve a row; the identity dashed.
# Called by `infinibench report` with: data output_file kind names colors marks twins ticks least most high low commonest
#   data: blocks of one row "row - pairs capacity low high n"; with commonest a last one, of the control that gives the commonest value read
# A wide range is drawn on logarithmic axes; what lies below their lower end (also below 0) stands there.
keys = words(names)
load ARG0[1:strlen(ARG0) - strlen('capacity.gp')] . 'style.gp'
rows = words(names)
dash(r) = 1 + int(word(twins, r)) # rows of one colour
wide = most / least > 20
floor_at = wide ? least / 4.0 : -1e30
up(y) = y > floor_at ? y : floor_at
spread(r) = (r - (rows + 1) / 2.0) * (rows < 5 ? 0.07 : 0.28 / rows)
place(x, r) = wide ? x * 2 ** spread(r) : x + spread(r) * most / 12.0
if (wide) {
    set logscale xy 2
    set xrange [least / 1.3:most * 1.3]
    set yrange [floor_at / 1.2:most * 1.3]
    unset mytics
    labels = ''
    do for [i = -3:20] {
        y = 2.0 ** i
        if (y >= floor_at && y <= most * 1.3) { labels = labels . (strlen(labels) ? ', ' : '') . sprintf("'%s%g' %g", y <= floor_at * 1.01 ? '≤ ' : '', y, y) }
    }
    eval 'set ytics (' . labels . ')'
} else {
    set xrange [least - most * 0.05:most * 1.04]
    set yrange [(low < 0 ? low * 1.1 : 0) - most * 0.02:(high > most ? high : most) * 1.04]
}
unset mxtics
eval 'set xtics (' . ticks . ')'
set xlabel 'pairs presented'
set ylabel 'pairs stored (estimate)'
set errorbars 0
set samples 400
plot x with lines linecolor rgb '#888888' linewidth 1.2 dashtype 2 title 'all stored', \
     for [r = rows + 1:rows + commonest] data index rows using 3:(up($4)) with lines linecolor rgb '#888888' linewidth 1.4 dashtype 3 \
         title 'commonest value', \
     for [r = 1:rows] data index r - 1 using (place($3, r)):(up($4)) with lines linecolor rgb color(r) linewidth 1.5 \
         dashtype dash(r) notitle, \
     for [r = 1:rows] data index r - 1 using (place($3, r)):(up($4)):(up($5)):(up($6)) with yerrorbars linecolor rgb color(r) \
         linewidth 1.3 pointtype marker(r) pointsize 0.7 * scale notitle, \
     for [r = 1:rows] keyentry with linespoints linecolor rgb color(r) linewidth 1.5 dashtype dash(r) pointtype marker(r) pointsize 0.7 * scale \
         title word(names, r)
