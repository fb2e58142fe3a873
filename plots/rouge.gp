# rouge.gp - ROUGE of summaries, or the share of events named, against the tokens read, a curve a row; with bounds the line of who lists
# only what was read (no upper bound: ROUGE rewards the form) and the floor.
# Called by `infinibench report` with: data output_file kind names colors marks twins ticks least most low high bounds xlabel ylabel
#   data: with bounds two blocks "ceiling|floor - tokens value" first; then a block a row: "row - tokens value low high n"
keys = words(names)
load ARG0[1:strlen(ARG0) - strlen('rouge.gp')] . 'style.gp'
rows = words(names)
dash(r) = 1 + int(word(twins, r)) # rows of one colour
set logscale x 2
set xrange [least / 1.25:most * 1.25]
set yrange [low:high]
unset mxtics
eval 'set xtics (' . ticks . ')'
set xlabel xlabel
set ylabel ylabel
set errorbars 0
place(x, r) = x * 2 ** ((r - (rows + 1) / 2.0) * (rows < 5 ? 0.05 : 0.2 / rows))
first = bounds ? 2 : 0
if (bounds) {
    plot data index 0 using 3:4 with lines linecolor rgb '#000000' linewidth 1.3 dashtype 2 title 'lists only what was read', \
         data index 1 using 3:4 with lines linecolor rgb '#777777' linewidth 1.3 dashtype 3 title 'floor', \
         for [r = 1:rows] data index first + r - 1 using (place($3, r)):4 with lines linecolor rgb color(r) linewidth 1.5 dashtype dash(r) notitle, \
         for [r = 1:rows] data index first + r - 1 using (place($3, r)):4:5:6 with yerrorbars linecolor rgb color(r) linewidth 1.3 \
             pointtype marker(r) pointsize 0.7 * scale notitle, \
         for [r = 1:rows] keyentry with linespoints linecolor rgb color(r) linewidth 1.5 dashtype dash(r) pointtype marker(r) \
             pointsize 0.7 * scale title word(names, r)
} else {
    plot for [r = 1:rows] data index first + r - 1 using (place($3, r)):4 with lines linecolor rgb color(r) linewidth 1.5 dashtype dash(r) notitle, \
         for [r = 1:rows] data index first + r - 1 using (place($3, r)):4:5:6 with yerrorbars linecolor rgb color(r) linewidth 1.3 \
             pointtype marker(r) pointsize 0.7 * scale notitle, \
         for [r = 1:rows] keyentry with linespoints linecolor rgb color(r) linewidth 1.5 dashtype dash(r) pointtype marker(r) \
             pointsize 0.7 * scale title word(names, r)
}
