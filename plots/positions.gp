# positions.gp - a value by segment of the document (1, 2-4, 5-16, 17-64, 65+) with 95 % intervals; rows stand side by side.
# Called by `infinibench report` with: data output_file kind names colors marks ylabel difference last
#   data: blocks of one row "row position index value low high documents"
keys = words(names)
load ARG0[1:strlen(ARG0) - strlen('positions.gp')] . 'style.gp'
rows = words(names)
step = rows < 6 ? 0.13 : 0.66 / (rows - 1)
dodge(r) = (r - (rows + 1) / 2.0) * step
set xrange [-0.5:last + 0.5]
set xtics ('1' 0, '2–4' 1, '5–16' 2, '17–64' 3, '65+' 4)
set tics scale 0, 0
set for [i = 0:3] arrow from i + 0.5, graph 0 to i + 0.5, graph 1 nohead linecolor rgb '#eeeeee' linewidth 0.7 back
set xlabel 'segment of the document'
set ylabel ylabel
set ytics format '%g'
set errorbars 0
set offsets 0, 0, graph 0.04, graph 0.04
if (difference) {
    set arrow 9 from graph 0, first 0 to graph 1, first 0 nohead linecolor rgb '#4d4d4d' linewidth 1 back
}
plot for [r = 1:rows] data index r - 1 using ($3 + dodge(r)):4:5:6 with yerrorbars linecolor rgb color(r) linewidth 1.5 \
         pointtype marker(r) pointsize 0.62 * scale notitle, \
     for [r = 1:rows] keyentry with points linecolor rgb color(r) pointtype marker(r) pointsize 0.7 * scale \
         title word(names, r)
